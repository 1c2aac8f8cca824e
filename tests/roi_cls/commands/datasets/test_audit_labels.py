"""Only labels that the scores contradict are said to look wrong."""

import json
from pathlib import Path

import pytest

from roi_cls.classifier.evaluation.label_review import DoubtfulLabel
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.commands.datasets import audit
from roi_cls.commands.datasets.audit import list_doubtful_labels

FOUND = tuple(
    DoubtfulLabel(f"{doubt}.png", "odd", "plain", doubt, 1 - doubt) for doubt in (0.9, 0.5, 0.4, 0)
)


@pytest.mark.parametrize(("most", "listed"), [(None, 2), (1, 1), (3, 3)])
def test_labels_that_scores_speak_for_do_not_look_wrong(
    monkeypatch: pytest.MonkeyPatch, most: int | None, listed: int
) -> None:
    monkeypatch.setattr(audit, "review_labels", lambda run: FOUND)
    run = RunFolder(Path("run"))
    assert "\n2 of 4 labels look wrong to models" in list_doubtful_labels(run, most, "text")
    assert len(json.loads(list_doubtful_labels(run, most, "json"))) == listed
