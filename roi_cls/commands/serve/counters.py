"""What a server counts, as Prometheus reads it. Knows numbers, no pictures."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PICTURES = (1, 2, 4, 8, 16, 32, 64)


class Counters:
    """One server's counters; two servers in a process have their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "roi_cls_requests", "Answered.", ("path", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "roi_cls_request_seconds",
            "From a request's head to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._pictures = Counter(
            "roi_cls_pictures", "Judged.", ("status", "label"), registry=registry
        )
        self._batches = Histogram(
            "roi_cls_batch_pictures", "Judged together.", buckets=_PICTURES, registry=registry
        )
        self._judging = Histogram(
            "roi_cls_batch_seconds",
            "Decoding, detecting and scoring a batch.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue = Gauge(
            "roi_cls_queue_pictures", "Accepted and not yet answered.", registry=registry
        )
        self._corrections = Counter(
            "roi_cls_corrections", "Verdicts marked as wrong.", registry=registry
        )
        ProcessCollector(registry=registry)  # memory, processor time, open files

    def watch_queue(self, count: Callable[[], int]) -> None:
        """Ask ``count`` for the length of the queue whenever somebody reads."""
        self._queue.set_function(count)

    def count_request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; ``path`` is one of the server's own, or ``other``."""
        self._requests.labels(path, method, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def count_picture(self, status: str, label: str | None) -> None:
        """Count a verdict."""
        self._pictures.labels(status, label or "").inc()

    def count_batch(self, pictures: int, seconds: float) -> None:
        """Count a batch."""
        self._batches.observe(pictures)
        self._judging.observe(seconds)

    def count_correction(self) -> None:
        """Count a verdict that somebody marked as wrong."""
        self._corrections.inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
