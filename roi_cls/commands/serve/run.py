"""The work behind ``roi-cls serve``: models opened, an address taken, requests until a signal."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roi_cls.base.errors import ServerError
from roi_cls.classifier.config import Device, Runtime
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.console.terminal import note

if TYPE_CHECKING:
    import uvicorn

    from roi_cls.classifier.explanation.explain import Explanation
    from roi_cls.commands.serve.app import ServedModel


BACKLOG = 2048
"""Connections that wait to be taken: uvicorn's own number."""
MOST_THREADS = 4
"""That judge, unless told otherwise: each owns a face detector, and more share one device."""


@dataclass(frozen=True, slots=True)
class ServeJob:
    """What to serve, with what, and where."""

    models: Sequence[Path]
    """Folders of runs, or one exported file."""
    options: PredictOptions
    server: ServerOptions
    host: str = "127.0.0.1"
    port: int = 8000
    """0: one that is free."""
    threads: int | None = None
    """That decode, look for faces and score; None: one per core, up to ``MOST_THREADS``."""
    device: Device = "auto"
    half: bool = False
    runtime: Runtime = "auto"


def serve_until_stopped(job: ServeJob) -> None:
    """Answer requests until SIGINT or SIGTERM; then finish those that are begun, and return.

    Raises:
        RoiClsError: The model cannot be used, or the address cannot be taken.
    """
    _check_packages()
    with open_listener(job.host, job.port) as listener, open_model(job) as model:
        server = make_server(model, job.server)
        with _stopping(server):
            host, port = listener.getsockname()[:2]
            address = f"[{host}]" if ":" in host else host
            note(f"Serving {model.name!r} at http://{address}:{port} (Ctrl-C stops it)")
            note(f"Computing with {model.engine}.")
            server.run([listener])
    note("Stopped; every request was answered.")


def _check_packages() -> None:
    """Raise ``ServerError`` where the packages of the ``serve`` extra are missing."""
    try:
        import fastapi
        import prometheus_client
        import python_multipart
        import uvicorn
    except ImportError as error:
        raise ServerError(
            f"Cannot serve: the package {error.name!r} is not installed. "
            "Install it with: pip install 'roi-cls[serve]'"
        ) from error
    del fastapi, prometheus_client, python_multipart, uvicorn


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address; port 0 takes a free one.

    Raises:
        ServerError: The address is taken, or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would let two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # from now on nobody is refused, though answers come later
        except BaseException:  # reason: raised again
            listener.close()
            raise
    except OSError as error:
        raise ServerError(
            f"Cannot listen at {host} port {port}: {(error.strerror or str(error)).lower()}. "
            "Give another --port, or one of this machine's addresses as --host."
        ) from error
    return listener


@contextmanager
def open_model(job: ServeJob) -> Iterator[ServedModel]:
    """Give the model of a job, with a judge for each thread.

    Raises:
        RoiClsError: It cannot be used here.
    """
    from roi_cls.base.machine import keep_freed_memory
    from roi_cls.classifier.inference.predictor import Predictor
    from roi_cls.classifier.inference.scorer import open_scorer
    from roi_cls.commands.serve.app import ServedModel

    keep_freed_memory()
    threads = job.threads or min(MOST_THREADS, os.cpu_count() or 1)
    opened = open_scorer(job.models, job.device, half=job.half, runtime=job.runtime)
    _share_cores(threads)
    with ExitStack() as stack:
        predictors = [stack.enter_context(Predictor(opened, job.options)) for _ in range(threads)]
        for predictor in predictors:  # each library's first use takes a second
            predictor.judge([Source("warm-up", image=np.zeros((64, 64, 3), np.uint8))])
        explain = _LateExplainer(job)
        stack.callback(explain.close)
        yield ServedModel(
            name=opened.name,
            bundle=predictors[0].bundle,
            judges=[predictor.judge for predictor in predictors],
            explain=explain,
            max_pixels=job.options.max_pixels,
            runtime=opened.runtime,
            engine=opened.engine,
        )


def _share_cores(threads: int) -> None:
    """Let each judge compute on its share of the cores: more threads than cores would wait."""
    torch = sys.modules.get("torch")  # absent: an exported model, which needs none
    if torch is not None:
        torch.set_num_threads(max(1, torch.get_num_threads() // threads))


class _LateExplainer:
    """Explains with a model of its own, loaded at the first call.

    Of its own, because it watches the model's layers: it would see the pictures of others.
    """

    def __init__(self, job: ServeJob) -> None:
        self._job = job
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._explain: Callable[[Source, str | None], Explanation] | None = None

    def __call__(self, source: Source, label: str | None) -> Explanation:
        from roi_cls.classifier.explanation.explain import Explainer, runtime_for
        from roi_cls.classifier.inference.predictor import open_predictor

        with self._lock:
            if self._explain is None:
                job = self._job
                runtime = runtime_for(job.models, "grad-cam", job.runtime)
                predictor = open_predictor(
                    job.models, job.device, runtime=runtime, options=job.options
                )
                self._explain = Explainer(self._stack.enter_context(predictor)).explain
            return self._explain(source, label)

    def close(self) -> None:
        """Free what was loaded."""
        self._stack.close()


def make_server(model: ServedModel, options: ServerOptions) -> uvicorn.Server:
    """Return a server that answers with the model."""
    import uvicorn

    from roi_cls.commands.serve.app import create_app

    config = uvicorn.Config(
        create_app(model, options),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(2 * options.timeout_s) + 1,  # arriving and being answered
    )
    return uvicorn.Server(config)


@contextmanager
def _stopping(server: uvicorn.Server) -> Iterator[None]:
    """Let signals stop the server, and nothing else of this process: it ends with exit code 0.

    uvicorn sends itself the signal again once it has stopped, for whoever handled it before.
    """

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
