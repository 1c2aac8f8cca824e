"""Shared by the server's tests: a run that looks for faces, and servers in threads."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest

from roi_cls.classifier.inference.prediction import PredictOptions
from roi_cls.commands.serve.app import ServedModel
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.commands.serve.run import ServeJob, make_server, open_listener, open_model
from tests.helpers.pictures import encode, noise

Command = Callable[..., CompletedProcess[str]]
PATIENCE_S = 60


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    address: str
    client: httpx.Client


Serve = Callable[..., contextlib.AbstractContextManager[Served]]


@contextlib.contextmanager
def serve_model(model: ServedModel, settings: ServerOptions) -> Iterator[Served]:
    """Serve a model in a thread, at a free port."""
    with open_listener("127.0.0.1", 0) as listener:
        server = make_server(model, settings)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client:
                yield Served(address, client)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def serve_run(
    run: Path, review: Path, *, max_pixels: int = 10**6, **settings: object
) -> Iterator[Served]:
    """Serve a run in a thread; further arguments are fields of ``ServerOptions``."""
    options = PredictOptions(max_pixels=max_pixels)
    chosen = ServerOptions(review=review, **settings)  # type: ignore[arg-type]  # any of its fields
    job = ServeJob([run], options, chosen, threads=2, device="cpu")
    with open_model(job) as model, serve_model(model, chosen) as served:
        yield served


def draw_picture(face: tuple[int, int, int, int] | None = (30, 20, 60, 60), seed: int = 0) -> bytes:
    """Return a PNG of 120 by 90 px with a white face at left, top, right, bottom."""
    # Blocks, so that no picture is taken for a copy of another.
    blocks = noise(9, 12, 3, high=230, seed=seed)
    pixels = blocks.repeat(10, axis=0).repeat(10, axis=1)
    if face:
        left, top, right, bottom = face
        pixels[top:bottom, left:right] = 255
    return encode(pixels)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pictures with a white face, a 9th without, and a file that is no picture; read only."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(8):
        (folder / f"{i}.png").write_bytes(draw_picture((20 + 5 * i, 20, 50 + 5 * i, 60), seed=i))
    (folder / "8.png").write_bytes(draw_picture(None))
    (folder / "9.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def face_run(
    command: Command,
    white_faces: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A finished run that looks for white faces; its classes are ``bright`` and ``dull``."""
    folder = tmp_path_factory.mktemp("face")
    for i in range(24):
        label = "dull" if i % 3 else "bright"
        face = (20 + i, 20, 50 + i, 60 if label == "bright" else 40)
        (folder / "set" / label).mkdir(parents=True, exist_ok=True)
        (folder / "set" / label / f"{i:02}.png").write_bytes(draw_picture(face, seed=100 + i))
    words = ["--size", "32", "--model", "test_efficientnet", "--weights", "none", "--epochs", "1"]
    words += ["--device", "cpu", "--workers", "0", "--runs", str(folder), "--run", "faces"]
    done = command("train", folder / "set", *words, "--cache", folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder / "faces"


@pytest.fixture(scope="module")
def served(face_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with ``face_run``, as it is without options."""
    review = tmp_path_factory.mktemp("review") / "review.csv"
    with serve_run(face_run, review) as found:
        yield found


@pytest.fixture(scope="session")
def serving() -> Serve:
    """Serve a run with settings of one's own, in a ``with`` block."""
    return serve_run


@pytest.fixture(scope="session")
def serving_model() -> Serve:
    """Serve a ``ServedModel``, in a ``with`` block."""
    return serve_model
