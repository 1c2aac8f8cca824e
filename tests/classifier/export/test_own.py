"""A run ends with its ONNX file, proven on its crops; or is whole without it, and says why."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.base.errors import ExportError, StorageError
from roi_cls.classifier.ensembles.join import join_runs
from roi_cls.classifier.ensembles.train import EnsembleJob, System, train_ensemble
from roi_cls.classifier.export import own
from roi_cls.classifier.inference.scorer import ROUNDING_TOLERANCE, open_scorer
from roi_cls.classifier.inference.verify import verify_run
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models import saved
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.run import train_run
from roi_cls.roi import CropParams

MakeJob = Callable[..., TrainJob]


@pytest.fixture
def job(toy_set: Path, make_job: MakeJob, tmp_path: Path) -> TrainJob:
    """A job of one epoch that ends with an export."""
    return make_job(toy_set, tmp_path / "runs" / "toy", epochs=1, export=True)


def _facts(run: RunFolder) -> dict[str, object]:
    found: dict[str, object] = json.loads(run.record.read_bytes())["onnx"]
    return found


def _runtime(run: RunFolder) -> str:
    return open_scorer([run.path], "cpu").runtime


def _verified(run: RunFolder) -> bool:
    found = verify_run(run, device="cpu", runtime="onnx")
    return found.largest_difference <= ROUNDING_TOLERANCE


def test_run_that_fails_after_the_file_is_not_finished_and_goes_on(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        assert job.run.onnx.is_file()
        assert job.run.record.is_file()
        raise StorageError(job.run.path, "disk full")

    monkeypatch.setattr(saved, "save_weights", _then(saved.save_weights, job.run))
    monkeypatch.setattr("timm.models._hub.save_config_for_hf", fail)
    with pytest.raises(StorageError):
        train_run(job, Observers())
    assert job.run.onnx.is_file()
    assert not job.run.is_finished
    monkeypatch.undo()
    notes: list[str] = []
    assert train_run(replace(job, resume=True), Observers(on_note=notes.append)).trained
    (told,) = notes
    assert told.startswith("Exported to model.onnx in ")
    assert told.endswith(" of validation (allowed 1e-05).")
    facts = _facts(job.run)
    assert facts["bytes"] == job.run.onnx.stat().st_size
    assert facts["compared"] == 9
    assert _verified(job.run)


@pytest.mark.usefixtures("central_face")
@pytest.mark.parametrize("joint", [False, True])
def test_file_of_a_cut_attempt_goes_where_no_new_one_is_wanted(job: TrainJob, joint: bool) -> None:
    job = replace(job, export=False, resume=True)
    job.run.path.mkdir(parents=True)
    job.run.onnx.write_bytes(b"of other weights")
    if joint:
        face = CropParams(margin=0.1, size_px=32, min_face_px=4)
        systems = (System("one", job.config, face), System("two", job.config, face))
        train_ensemble(EnsembleJob(job, systems), Observers())
    else:
        train_run(job, Observers())
    assert job.run.is_finished
    assert not job.run.onnx.exists()


def _then(function: Callable[..., None], run: RunFolder) -> Callable[..., None]:
    def save(*arguments: object) -> None:
        assert not run.onnx.exists()
        function(*arguments)

    return save


def test_run_is_whole_without_the_file_where_nobody_asks_for_it(
    toy_run: RunFolder, exported_run: RunFolder
) -> None:
    assert not toy_run.onnx.exists()
    assert "onnx" not in json.loads(toy_run.record.read_bytes())
    same = [(run.path / "config.json").read_bytes() for run in (toy_run, exported_run)]
    assert same[0] == same[1]  # it changes no result, and is no setting


@pytest.mark.parametrize(
    ("name", "broken", "told"),
    [
        ("ROUNDING_TOLERANCE", -1.0, "Cannot export the model 'test_efficientnet': exported, it "),
        ("make_graph", RuntimeError("no such\noperator"), "no such"),
        ("make_graph", ExportError("Cannot export 'x' to ONNX: it is odd."), "Cannot export 'x' "),
        ("check_exportable", ValueError(), "ValueError"),
    ],
)
def test_whatever_the_export_raises_the_run_is_kept(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch, name: str, broken: object, told: str
) -> None:
    def fail(*_: object) -> None:
        assert isinstance(broken, Exception)
        raise broken

    monkeypatch.setattr(own, name, fail if isinstance(broken, Exception) else broken)
    job.run.path.mkdir(parents=True)
    notes: list[str] = []
    train_run(job, Observers(on_note=notes.append))
    (note,) = notes
    assert note.startswith(f"note: the run has no ONNX file, and torch predicts: {told}")
    assert str(_facts(job.run)["error"]).startswith(told)
    assert not job.run.onnx.exists()
    assert _runtime(job.run) == "torch"
    assert verify_run(job.run, device="cpu").largest_difference <= ROUNDING_TOLERANCE


@pytest.mark.parametrize("exact", [True, False])
def test_scores_of_another_device_are_not_what_the_file_is_compared_with(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    def round_as_a_gpu(*logits: Any) -> NDArray[np.float64]:
        probabilities = to_probabilities(*logits)
        return np.asarray(probabilities + 1e-4 * (1 - 2 * probabilities), np.float64)

    monkeypatch.setattr("roi_cls.classifier.training.run.to_probabilities", round_as_a_gpu)
    monkeypatch.setattr(Backend, "is_exact_cpu", exact)
    train_run(job, Observers())
    assert job.run.onnx.exists() is not exact


def test_svm_has_no_such_form(toy_set: Path, make_job: MakeJob, tmp_path: Path) -> None:
    pytest.importorskip("skimage")  # reason: of the extra `classical`
    svm = make_job(toy_set, tmp_path / "svm", method="svm", export=True)
    notes: list[str] = []
    train_run(svm, Observers(on_note=notes.append))
    assert [text for text in notes if "ONNX" in text] == [
        "note: the run has no ONNX file, and torch predicts: Cannot export an SVM to ONNX: its "
        "features are computed by scikit-image, outside of any graph. Predict with the run "
        "itself, or export a run of another --method."
    ]
    assert not svm.run.onnx.exists()


@pytest.mark.usefixtures("central_face")
def test_ensemble_has_one_file_for_all_of_its_members(job: TrainJob) -> None:
    face = CropParams(margin=0.1, size_px=32, min_face_px=4)
    one, other = (
        System("framed", replace(job.config, frame=True), face),
        System("full", job.config, CropParams(crop="full", size_px=48)),
    )
    train_ensemble(EnsembleJob(job, (one, other)), Observers())
    members = sorted(job.run.members.iterdir())
    assert [path.name for path in members] == ["framed", "full"]
    assert not any(RunFolder(path).onnx.exists() for path in members)
    assert _facts(job.run)["compared"] == 9
    assert _runtime(job.run) == "onnx"
    assert _verified(job.run)


def test_joined_runs_have_a_file_if_their_pictures_are_there(
    exported_run: RunFolder, job: TrainJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_run(replace(job, export=False), Observers())
    new = RunFolder(job.run.path.parent / "both")
    notes: list[str] = []
    join_runs([exported_run, job.run], new, on_note=notes.append, export=True)
    assert notes[-1].startswith("Exported to model.onnx in ")
    assert not list(new.members.glob("*/model.onnx"))
    assert _verified(new)

    def gone(*_: object) -> None:
        raise ExportError("Cannot compare the exported model with the run: they moved.")

    monkeypatch.setattr(own, "find_pictures_to_compare", gone)
    late = RunFolder(job.run.path.parent / "late")
    join_runs([exported_run, job.run], late, on_note=notes.append, export=True)
    assert notes[-1] == (
        "note: the run has no ONNX file, and torch predicts: Cannot compare the exported model "
        "with the run: they moved."
    )
    assert _runtime(late) == "torch"


@pytest.mark.parametrize(("pictures", "compared"), [(1, 1), (64, 64), (65, 33), (1000, 63)])
def test_comparison_takes_few_pictures_from_all_over(pictures: int, compared: int) -> None:
    rows = range(pictures)[own.pick_compared(pictures)]
    assert len(rows) == compared
    assert rows[-1] >= pictures - pictures / own.MOST_COMPARED - 1
