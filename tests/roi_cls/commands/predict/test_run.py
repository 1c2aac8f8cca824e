"""Predicting very many pictures: the memory does not grow with their number."""

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from roi_cls.base.closing import Closing
from roi_cls.classifier.inference.prediction import Looked, Prediction, PredictOptions, Source
from roi_cls.commands.predict import run
from roi_cls.commands.predict.run import PredictJob, predict_and_print
from roi_cls.console import terminal
from roi_cls.data.sample import LabelSet


class Guesser(Closing):
    """Answers at once, looking a few pictures ahead as the real one does."""

    shown = 0
    bundle = SimpleNamespace(labels=LabelSet(("odd", "plain"), "odd"))

    def __init__(self, opened: object, options: PredictOptions) -> None:
        pass

    def look(self, sources: Iterable[Source]) -> Iterator[Looked]:
        """Yield the same answer for each."""
        coming = iter(sources)
        ahead = [source for _, source in zip(range(50), coming, strict=False)]
        while ahead:
            path = ahead.pop(0).path
            ahead.extend(source for _, source in zip(range(1), coming, strict=False))
            yield Looked(Prediction(path, "ok", None, "odd", 1.0, {"odd": 1.0, "plain": 0.0}), None)

    def close(self) -> None:
        """Free nothing."""


@pytest.fixture(autouse=True)
def _guess(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SimpleNamespace(name="guess", engine="", scorer=SimpleNamespace(bundle=Guesser.bundle))
    monkeypatch.setattr(run, "open_scorer", lambda *_, **__: opened)
    monkeypatch.setattr(run, "Predictor", Guesser)


def peak_bytes(folder: Path, pictures: int) -> int:
    names = folder / f"{pictures}.txt"
    long = "a-long-name-" * 40
    names.write_text("".join(f"{long}/picture-{i:06}.png\n" for i in range(pictures)))
    output = folder / "rows"
    tracemalloc.start()
    try:
        assert predict_and_print(PredictJob([str(names)], [Path("run")], "jsonl", output)) == 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert output.read_text().count("picture-") == pictures


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    peak_bytes(tmp_path, 100)  # what is imported and kept once
    few = peak_bytes(tmp_path, 500)
    # Twice: Python makes its table of all names anew at times, of 16 MB in a process that has many.
    many = min(peak_bytes(tmp_path, 20_000) for _ in range(2))
    assert many < few + 5_000_000  # the names alone would take 10 MB


def test_progress_knows_the_total_of_files_lists_and_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PLAIN_INTERVAL_S", 0.0)
    names = tmp_path / "names.txt"
    names.write_text("a.png\nb.png\n")
    job = PredictJob([str(names), "c.png"], [Path("run")], "jsonl", tmp_path / "rows")
    assert predict_and_print(job) == 0
    assert "Predicting: 3/3" in capsys.readouterr().err
