"""Many requests at once: batches, a full queue, what takes too long, and what fails."""

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from roi_cls.classifier.explanation.explain import Explanation
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.commands.serve.app import ServedModel
from roi_cls.commands.serve.options import ServerOptions

PATIENCE_S = 30


def answer(source: Source) -> Looked:
    return Looked(Prediction(source.path, "ok", label="bright", score=0.9), None)


class Judge:
    """Answers at once, or when it is told to; remembers its batches."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.began = threading.Event()
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    def __call__(self, sources: Sequence[Source]) -> list[Looked]:
        """Return an answer for each picture; one that is called ``bad`` fails them all."""
        self.batches.append([source.path for source in sources])
        self.began.set()
        assert self.gate.wait(PATIENCE_S)
        if any(source.path == "bad" for source in sources):
            raise RuntimeError("a fault of ours")
        return [answer(source) for source in sources]


def explain_nothing(source: Source, label: str | None) -> Explanation:
    raise AssertionError("nobody asks for it here")


@pytest.fixture
def make_model(face_run: Path) -> Callable[..., ServedModel]:
    def make(*judges: Judge) -> ServedModel:
        return ServedModel("fake", load_bundle(face_run), judges, explain_nothing, 10**6)

    return make


def post(served: Any, name: str, data: bytes = b"x") -> httpx.Response:
    found: httpx.Response = served.client.post("/predict", content=data, params={"name": name})
    return found


def test_what_waits_is_judged_together_and_each_gets_its_own_answer(
    serving_model: Any, make_model: Callable[..., ServedModel]
) -> None:
    judge = Judge(is_open=False)
    with (
        serving_model(make_model(judge), ServerOptions(batch_size=8, wait_ms=0)) as served,
        concurrent.futures.ThreadPoolExecutor(21) as pool,
    ):
        first = pool.submit(post, served, "first")
        assert judge.began.wait(PATIENCE_S)
        others = {f"{i}": pool.submit(post, served, f"{i}") for i in range(20)}
        while served.client.get("/health").json()["waiting"] < 21:
            pass
        judge.gate.set()
        assert first.result().json()["path"] == "first"
        assert {name: done.result().json()["path"] for name, done in others.items()} == {
            name: name for name in others
        }
    assert [len(batch) for batch in judge.batches] == [1, 8, 8, 4]


def test_request_with_many_pictures_is_shared_among_the_judges(
    serving_model: Any, make_model: Callable[..., ServedModel]
) -> None:
    judges = Judge(), Judge()
    files = [("files", (f"{i}", b"x")) for i in range(12)]
    with serving_model(make_model(*judges), ServerOptions(batch_size=16)) as served:
        rows = served.client.post("/predict", files=files).json()
    assert [row["path"] for row in rows] == [f"{i}" for i in range(12)]
    assert sorted(len(batch) for judge in judges for batch in judge.batches) == [6, 6]


def test_full_queue_is_503_and_says_when_to_come_again(
    serving_model: Any, make_model: Callable[..., ServedModel]
) -> None:
    judge = Judge(is_open=False)
    files = [("files", (f"{i}", b"x")) for i in range(3)]
    with (
        serving_model(make_model(judge), ServerOptions(queue=4, batch_size=1)) as served,
        concurrent.futures.ThreadPoolExecutor(3) as pool,
    ):
        begun = pool.submit(served.client.post, "/predict", files=files)
        assert judge.began.wait(PATIENCE_S)
        too_many = served.client.post("/predict", files=files)
        fits = pool.submit(post, served, "fits")
        while served.client.get("/health").json()["waiting"] < 4:
            pass
        full = post(served, "one more")
        judge.gate.set()
        assert begun.result().status_code == fits.result().status_code == 200
        assert post(served, "again").status_code == 200
    assert too_many.status_code == full.status_code == 503
    assert full.headers["retry-after"] == "1"
    assert too_many.json() == {"detail": "3 pictures are waiting. Try again soon."}
    assert full.json() == {"detail": "4 pictures are waiting. Try again soon."}


def test_bytes_in_memory_are_bounded(
    serving_model: Any,
    make_model: Callable[..., ServedModel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ServerOptions, "most_held_bytes", 2500)
    judge = Judge(is_open=False)
    with (
        serving_model(make_model(judge), ServerOptions(max_bytes=2000)) as served,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        begun = pool.submit(post, served, "a", bytes(2000))
        assert judge.began.wait(PATIENCE_S)
        refused = post(served, "b", bytes(1000))
        judge.gate.set()
        assert begun.result().status_code == 200
        assert post(served, "c", bytes(2000)).status_code == 200  # all was given back
    assert refused.status_code == 503
    words = "The server holds as many bytes as it may. Try again soon."
    assert refused.json() == {"detail": words}


def test_answer_that_takes_too_long_is_503_and_what_nobody_waits_for_is_not_judged(
    serving_model: Any, make_model: Callable[..., ServedModel]
) -> None:
    judge = Judge(is_open=False)
    settings = ServerOptions(timeout_s=0.5, batch_size=1)
    with (
        serving_model(make_model(judge), settings) as served,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        late = list(pool.map(post, [served, served], ["a", "b"]))
        assert served.client.get("/health").json()["waiting"] == 0
        judge.gate.set()
        assert post(served, "c").status_code == 200
    assert [found.status_code for found in late] == [503, 503]
    words = "There was no answer within 0.5 s. Try again, or send less."
    assert late[0].json() == {"detail": words}
    assert judge.batches[1:] == [["c"]]


def test_picture_that_fails_does_not_take_its_neighbours_along(
    serving_model: Any,
    make_model: Callable[..., ServedModel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    judge = Judge(is_open=False)
    names = ["first", "a", "bad", "b"]
    with (
        caplog.at_level(logging.CRITICAL, "uvicorn.error"),
        serving_model(make_model(judge), ServerOptions()) as served,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        first = pool.submit(post, served, "first")
        assert judge.began.wait(PATIENCE_S)
        others = [pool.submit(post, served, name) for name in names[1:]]
        while served.client.get("/health").json()["waiting"] < 4:
            pass
        judge.gate.set()
        found = [first.result(), *(done.result() for done in others)]
        assert post(served, "after").status_code == 200
    assert [one.status_code for one in found] == [200, 200, 500, 200]
    words = "The server failed at this request; its log says why. Try another picture."
    assert found[2].json() == {"detail": words}
