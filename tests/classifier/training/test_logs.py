"""The epochs as TensorBoard reads them back, also after an interrupt."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.training import logs
from roi_cls.classifier.training.job import EpochReport
from roi_cls.classifier.training.logs import TensorboardLog, check_tensorboard


def _report(epoch: int) -> EpochReport:
    return EpochReport(epoch, "all", 0.1 / epoch, 0.9, 0.8, 0.1 * epoch, 0.7, True, 1.0, 50.0)


def _read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    reader: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the extra `tensorboard`"
)
def test_epochs_are_read_back_and_those_after_an_interrupt_replaced(tmp_path: Path) -> None:
    with TensorboardLog(tmp_path / "tb") as log:
        assert not (tmp_path / "tb").exists()  # a run that cannot begin leaves no file
        for epoch in (1, 2, 3):
            log(_report(epoch))
    with TensorboardLog(tmp_path / "tb") as log:
        for epoch in (3, 4):
            log(_report(epoch))
    scalars = _read(tmp_path / "tb")
    epochs, values = zip(*scalars["validation/average_precision"], strict=True)
    assert epochs == (1, 2, 3, 4)
    assert values == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert set(scalars) == set(logs._SCALARS.values())


def test_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(TrainingError) as caught:
        check_tensorboard()
    assert str(caught.value) == (
        "Cannot write for TensorBoard: it is not installed. "
        "pip install 'roi-cls[tensorboard]', or leave --tensorboard out."
    )
