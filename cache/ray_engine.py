"""The work on many machines: Ray Data maps it over the pictures, results come home in order.

Knows nothing of pictures. Only the process that calls this writes the index; the workers write
cache entries, so the cache lies where every machine sees it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import platform
import secrets
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.closing import Closing
from roi_cls.base.errors import RoiClsError
from roi_cls.base.pool import WorkerPool
from roi_cls.base.quiet import stderr_held
from roi_cls.cache.builder import CropWork
from roi_cls.cache.record import CropResult
from roi_cls.cache.store import FORMAT
from roi_cls.roi.archives.opening import find_place

if TYPE_CHECKING:
    import pyarrow as pa

OnDeath = Callable[[Path, int | None], CropResult]
_Answers = list[CropResult | BaseException]

BATCH = 64
"""Files that a worker takes at once, at most: what is done again when one is lost."""
PER_WORKER = 4096
"""Pictures per worker in one pipeline: its start takes 2 to 8 s, these take a minute or more."""
SEEN_WITHIN_S = 10
"""A file written on one machine is seen on the others of a network drive after a few seconds."""
_KNOCK_S = 10
_OBJECT_STORE_BYTES = 256 * 2**20  # of a cluster of our own: paths and rows, never pixels


class ClusterError(RoiClsError):
    """Ray is not installed, its cluster cannot be used, or it lost too many workers."""


def make_batches(paths: Sequence[Path], least: int) -> list[list[Path]]:
    """Return the pictures in batches, in order, about ``least`` of them at least.

    What lies in one archive stays together as far as that allows: a tar has no directory, so each
    worker that takes a part of it reads the headers before that part, or decompresses it. No batch
    holds pictures of two archives; one of other files holds ``BATCH`` at most.
    """
    share = max(1, len(paths) // least)
    batches: list[list[Path]] = []
    for archive, group in itertools.groupby(paths, _archive_of):
        held = list(group)
        size = share if archive else min(BATCH, share)
        batches += [held[start : start + size] for start in range(0, len(held), size)]
    return batches


def _archive_of(path: Path) -> str | None:
    place = find_place(path)
    return str(place.archive) if place else None


class RayEngine(Closing):
    """A Ray cluster that this process is connected to."""

    def __init__(
        self, make_work: Callable[[], CropWork], on_death: OnDeath, marker: Path, workers: int
    ) -> None:
        self._workers = workers
        self._arguments = (make_work, on_death, marker, os.getcwd())
        self.block = PER_WORKER * workers
        """Pictures to be given at once, at most; fewer pipelines are faster, more need less."""
        self._results: Generator[CropResult, None, None] | None = None

    def map(self, paths: Sequence[Path]) -> Iterator[CropResult]:
        """Yield the result of each picture, in order; ends what ``map`` gave before.

        Raises:
            RoiClsError: Raised by the work, or the cluster failed.
            RuntimeError: The work failed in another way.
        """
        self.close()
        self._results = self._map(paths)
        return self._results

    def close(self) -> None:
        """End the pipeline; its threads would start another cluster when this one is left."""
        if self._results is not None:
            self._results.close()

    def _map(self, paths: Sequence[Path]) -> Generator[CropResult, None, None]:
        import ray.exceptions

        if not paths:
            return
        done = 0
        try:
            with contextlib.closing(self._stream(paths)) as batches:
                for answers in batches:
                    for answer in answers:
                        if isinstance(answer, BaseException):
                            raise answer
                        done += 1
                        yield answer
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"Cannot go on with the Ray cluster after {done} of {len(paths)} pictures: "
                f"{_first_line(error)} Give the workers more memory or use fewer --workers, then "
                "run the same command again: what is finished is kept."
            ) from error

    def _stream(self, paths: Sequence[Path]) -> Generator[_Answers, None, None]:
        """Yield what became of each batch; memory holds the batches under way."""
        import ray.data

        # Two batches each keep a worker busy during a transfer.
        rows = [{"paths": pickle.dumps(batch)} for batch in make_batches(paths, 2 * self._workers)]
        # One row is one block is one batch: that is what Ray orders, sends and tries again.
        answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Cropper,
            fn_constructor_args=self._arguments,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(self._workers, len(rows))),
            num_cpus=1,
        )
        for batch in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
            for answer in batch["answers"].to_pylist():
                yield pickle.loads(answer)


@contextlib.contextmanager
def open_ray(
    make_work: Callable[[], CropWork],
    on_death: OnDeath,
    cache: Path,
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[RayEngine]:
    """Give an engine on a Ray cluster, and leave the cluster at the end.

    Args:
        make_work: Entered once in each worker; picklable.
        on_death: Makes the result of a picture during which a process died, from its exit code.
        cache: A folder that every worker must see.
        address: Of the cluster, or ``auto``; None: one is started on this machine and ended here.
        workers: How many pictures are worked on at a time; None: as many as there are cores.

    Raises:
        ClusterError: Ray is missing, or the cluster cannot be reached.
        StorageError: The cache cannot be written.
    """
    with _connected(address, workers), _marked(cache) as marker:
        import ray

        cores = int(ray.cluster_resources().get("CPU", 1))
        with RayEngine(make_work, on_death, marker, max(1, workers or cores)) as engine:
            yield engine


class _Cropper:
    """What Ray runs on a machine: a process of our own that does the work.

    A picture that crashes its decoder ends that process, not Ray's: it costs one row, where Ray
    would try the whole batch again for ever.
    """

    def __init__(
        self, make_work: Callable[[], CropWork], on_death: OnDeath, marker: Path, folder: str
    ) -> None:
        with contextlib.suppress(OSError):  # relative paths mean what they mean to the caller
            os.chdir(folder)
        self._marker: Path | None = marker
        self._pool = WorkerPool(1, make_work, on_death)

    def __call__(self, batch: pa.Table) -> pa.Table:
        answers = [self._answer(pickle.loads(paths)) for paths in batch["paths"].to_pylist()]
        return {"answers": [pickle.dumps(answer) for answer in answers]}

    def _answer(self, paths: list[Path]) -> _Answers:
        """Return the results up to an error, and the error: Ray would wrap what is raised."""
        answers: _Answers = []
        try:
            self._check_cache()
            for result in self._pool.map(paths):
                answers.append(result)
        except (RoiClsError, RuntimeError) as error:
            self._pool.close()
            answers.append(error)
        return answers

    def _check_cache(self) -> None:
        """Raise unless this machine sees the caller's cache: crops elsewhere would be lost."""
        if self._marker is None:
            return
        until = time.monotonic() + SEEN_WITHIN_S
        while not self._marker.exists():
            if time.monotonic() > until:
                raise ClusterError(
                    f"Cannot crop on the machine {platform.node()!r}: it does not see the cache "
                    f"{str(self._marker.parents[2])!r}. Give a folder that all machines share, by "
                    "its full name, or an object store (s3://…) with --cache."
                )
            time.sleep(0.2)
        self._marker = None


@contextlib.contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[None]:
    ray = _import_ray(on_loopback=address is None)
    if ray.is_initialized():  # by who calls this: it is theirs to end
        yield
        return
    settings: dict[str, Any] = {"address": address}
    if address is None:
        settings = {
            "address": "local",  # else RAY_ADDRESS, where it is set, would be joined
            "num_cpus": workers or None,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        if address:
            _knock(address)
        with stderr_held(tells_failure=False):  # Ray's C++ part tells its log level there
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # reason: a slow node raises no narrower class; raised as ours below
        if address is None:
            ray.shutdown()  # of what had started
        raise ClusterError(_tell_refusal(address, error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _tell_refusal(address: str | None, error: Exception) -> str:
    if address:
        return (
            f"Cannot use the Ray cluster {address!r}: {_first_line(error)} "
            "Check --address; Ray and Python must have the same version on every machine."
        )
    return (
        f"Cannot start a Ray cluster on this machine: {_first_line(error)} Try again when it is "
        "less busy, use --engine local, or start one by `ray start --head` and give its --address."
    )


def _import_ray(*, on_loopback: bool) -> Any:
    """Return ``ray``, told to be quiet and private: it reads these settings when imported."""
    settings = {
        "RAY_BACKEND_LOG_LEVEL": "fatal",  # else errors of no concern stand between our lines
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a warning about GPUs
    }
    if on_loopback:  # the only setting that keeps its ports closed to other machines
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import ray.data
    except ImportError as error:
        raise ClusterError(
            "Cannot use --engine ray: Ray is not installed. "
            "Run: pip install 'roi-cls[ray]', or use --engine local."
        ) from error

    # Without this, a lost worker is told in a paragraph on stdout, where results go.
    ray._private.worker._worker_logs_enabled = False
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _knock(address: str) -> None:
    """Raise ``OSError`` where nobody listens: Ray would try for minutes, then end this process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


@contextlib.contextmanager
def _marked(cache: Path) -> Iterator[Path]:
    """Give a file that lies in the cache for the time being."""
    # Named and placed like a draft, so that a killed driver's is removed like one.
    marker = cache / FORMAT / "drafts" / f".tmp-ray-{secrets.token_hex(8)}"
    write_atomically(marker, b"The machines of a Ray cluster look for this file.\n")
    try:
        yield marker
    finally:
        with contextlib.suppress(OSError):
            marker.unlink()


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split("\n\n")[0].split())[:300] or type(error).__name__
    return text if text.endswith(".") else f"{text}."
