"""An experiment tells what is wrong with its data: its numbers are the ones that get published."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.cache.options import BuildOptions
from roi_cls.classifier.experiments.trial import ExperimentJob
from roi_cls.commands.experiments import run
from roi_cls.data.split import Split, SplitParams


def test_leaks_are_told_once_before_systems_are_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pair = (Path("train/a.png"), Path("test/b.png"))
    data = SimpleNamespace(digest="d", split=Split((), (), (), near_leaks=(pair,)))

    def compare(experiment: ExperimentJob, recipes: Any, observers: Any, *others: Any) -> None:
        observers.on_data(data)
        observers.on_data(data)
        raise TrainingError("The end.")

    monkeypatch.setattr(run, "compare_recipes", compare)
    experiment = ExperimentJob(tmp_path, tmp_path, SplitParams(), BuildOptions(tmp_path))
    with pytest.raises(TrainingError, match="The end"):
        run.compare_and_tell(experiment, [], "x")
    warning = "warning: pictures that look alike stand in two parts: 'train/a.png' and 'test/b.png'"
    assert capsys.readouterr().err.count(warning) == 1
