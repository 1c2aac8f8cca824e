"""The scores' CSV, a round trip to the last bit; calibration and threshold chosen on scores."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from roi_cls.base.errors import BundleError
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.classifier.runs.scores import (
    ScoreTable,
    choose_operating_point,
    data_root,
    read_scores,
    relative_path,
    write_scores,
)
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams

TEXT = st.text(st.characters(codec="utf-8"), max_size=9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, TEXT, st.floats(0, 1)), min_size=1, max_size=5), TEXT)
@example([("a\rb.png", 'x"y', 0.1 + 0.2)], "a,b")
@example([("line\nbreak\r\n.png", "", 5e-324)], "p")
@example([("caf\udce9.png", ";", float(np.nextafter(1, 0)))], " ")
def test_table_is_read_back_to_the_last_bit(
    tmp_path: Path, rows: list[tuple[str, str, float]], name: str
) -> None:
    names = (name, name + "2")
    table = ScoreTable(
        paths=tuple(path for path, _, _ in rows),
        sha256=tuple("00" for _ in rows),
        labels=tuple(label for _, label, _ in rows),
        sources=tuple("face" for _ in rows),
        probabilities=np.array([[p, 1 - p] for _, _, p in rows]),
    )
    write_scores(tmp_path / "scores.csv", table, names)
    again = read_scores(tmp_path / "scores.csv", names)
    assert again.probabilities.tobytes() == table.probabilities.tobytes()
    for field in ("paths", "sha256", "labels", "sources"):
        assert getattr(again, field) == getattr(table, field)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        ("", "it has no row"),
        ("path,sha256,label,source,p_a,p_b\n", "it has no row"),
        ("path,sha256,label,source,p_a\nx,0,a,face,1\n", "'p_b'"),
        ("path,label,source,p_a,p_b\nx,a,face,1,0\n", "'sha256'"),
        ("path,sha256,label,source,p_a,p_b\nx,0,a,face,1,zero\n", "could not convert"),
        ("path,sha256,label,source,p_a,p_b\nx,0,a,face,1\n", "float() argument"),
    ],
)
def test_other_file_is_told(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BundleError) as caught:
        read_scores(path, ("a", "b"))
    message = str(caught.value)
    assert message.startswith(f"Cannot read the stored scores {str(path)!r}: ")
    assert why in message
    assert message.endswith(". Train the run again.")


def test_columns_are_found_by_class_name_not_by_place(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("path,sha256,label,source,p_b,p_a\nx,0,a,face,0.25,0.75\n")
    assert read_scores(path, ("a", "b")).probabilities.tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize(
    ("path", "expected"), [("set/a/b.png", "a/b.png"), ("other/b.png", None), ("set", ".")]
)
def test_paths_are_relative_below_the_root_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    found = relative_path(Path(path), tmp_path / "set")
    assert found == (expected or str(tmp_path / path))


def test_root_of_a_csv_is_its_folder(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    assert data_root(tmp_path / "rows.csv") == tmp_path
    assert data_root(tmp_path) == tmp_path
    assert data_root(tmp_path / "gone") == tmp_path / "gone"
    (tmp_path / "folder.csv").mkdir()
    assert data_root(tmp_path / "folder.csv") == tmp_path / "folder.csv"


def bundle_of(*names: str, rule: str = "f1") -> ModelBundle:
    return ModelBundle(
        model="test_efficientnet",
        views=(CropParams(),),
        labels=LabelSet(names, names[0]),
        normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
        temperature=1.0,
        offsets=(0.0,) * len(names),
        threshold=None,
        data_digest="x",
        threshold_rule=rule,
    )


def ranked(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = (np.arange(count) % 4 > 0).astype(np.int64)  # a quarter is of the target
    return np.stack([random.normal(2 - 2 * labels), np.zeros(count)], axis=1), labels


@pytest.mark.parametrize("calibrate", [True, False])
def test_threshold_is_one_of_the_scores_that_are_given(calibrate: bool) -> None:
    logits, labels = ranked()
    bundle, shortfall = choose_operating_point(
        bundle_of("odd", "plain", rule="recall>=0.8"), logits, labels, calibrate=calibrate
    )
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)[:, 0]
    assert bundle.threshold is not None
    assert (scores[labels == 0] >= bundle.threshold).mean() >= 0.8
    assert shortfall is None
    assert (bundle.temperature == 1.0) is not calibrate
    if calibrate:
        assert scores.mean() == pytest.approx(0.25, abs=0.02)


def test_rule_that_no_threshold_keeps_is_told() -> None:
    logits, labels = ranked()
    logits[labels == 1, 0] = logits[:, 0].max() + 1  # every other picture scores above the target's
    bundle, shortfall = choose_operating_point(
        bundle_of("odd", "plain", rule="precision>=0.95"), logits, labels, calibrate=False
    )
    assert bundle.threshold is not None
    assert shortfall
    assert "precision" in shortfall


def test_what_is_ruled_out_stays_so() -> None:
    logits, labels = ranked()
    logits[labels == 1, 0] = -np.inf
    bundle, _ = choose_operating_point(bundle_of("odd", "plain"), logits, labels, calibrate=True)
    scores = to_probabilities(logits, bundle.temperature, bundle.offsets)
    assert np.array_equal(scores[labels == 1], np.tile([0.0, 1.0], ((labels == 1).sum(), 1)))
    assert np.isfinite([bundle.temperature, *bundle.offsets]).all()


def test_three_classes_have_no_threshold() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 3))
    labels = np.arange(30) % 3
    bundle, shortfall = choose_operating_point(
        bundle_of("a", "b", "c"), logits, labels, calibrate=True
    )
    assert (bundle.threshold, shortfall) == (None, None)
