"""The folder of one run: which file lies where, and which run is meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.errors import BundleError
from roi_cls.classifier.runs.bundle import CONFIG_NAME, MEMBERS_NAME


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of the files of a run. A run is finished when its ``config.json`` is there."""

    path: Path

    @property
    def settings(self) -> Path:
        """What the run was started with; tells whether it may be resumed."""
        return self.path / "settings.json"

    @property
    def split(self) -> Path:
        """Which picture is in which part."""
        return self.path / "split.csv"

    @property
    def crops(self) -> Path:
        """The manifest: a row for each picture, also for those in error."""
        return self.path / "crops.jsonl"

    @property
    def metrics(self) -> Path:
        """A line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        """The epochs as a picture."""
        return self.path / "curves.png"

    @property
    def record(self) -> Path:
        """How the run came about: versions, code, machine, time, memory."""
        return self.path / "record.json"

    @property
    def tensorboard(self) -> Path:
        """The epochs for TensorBoard, where it was asked for."""
        return self.path / "tensorboard"

    @property
    def tracking(self) -> Path:
        """What the run is named by the trackers that are told of it (``--log``)."""
        return self.path / "tracking.json"

    @property
    def checkpoint(self) -> Path:
        """State to resume from; gone when the run is finished."""
        return self.path / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """Weights of the best epoch so far; gone when the run is finished."""
        return self.path / "best.safetensors"

    @property
    def detector(self) -> Path:
        """The face detector's model files, so that the run needs nothing else to crop alike."""
        return self.path / "detector"

    @property
    def validation_scores(self) -> Path:
        """Scores of the validation pictures, which ``roi-cls verify`` proves."""
        return self.path / "scores_validation.csv"

    @property
    def oof_scores(self) -> Path:
        """Out-of-fold scores: each picture's by models that did not learn from it (``--folds``)."""
        return self.path / "scores_oof.csv"

    @property
    def members(self) -> Path:
        """The models of an ensemble, each a run of its own."""
        return self.path / MEMBERS_NAME

    @property
    def test_scores(self) -> Path:
        """Scores of the pictures last evaluated."""
        return self.path / "scores_test.csv"

    @property
    def evaluation(self) -> Path:
        """The last evaluation."""
        return self.path / "evaluation.json"

    @property
    def mistakes(self) -> Path:
        """The pictures last evaluated that were answered wrongly."""
        return self.path / "mistakes.csv"

    @property
    def mistake_sheet(self) -> Path:
        """The same as a page of crops; missing where there was no mistake."""
        return self.path / "mistakes.jpg"

    @property
    def test_openings(self) -> Path:
        """A line for each time that the run was scored on labelled pictures."""
        return self.path / "test_openings.jsonl"

    @property
    def onnx(self) -> Path:
        """The model as one file that needs nothing else; where it is there, it predicts on CPUs."""
        return self.path / "model.onnx"

    @property
    def report(self) -> Path:
        """All that is known of the run, as a page for a browser."""
        return self.path / "report.html"

    @property
    def is_finished(self) -> bool:
        """Whether a model was trained to the end."""
        return (self.path / CONFIG_NAME).is_file()


def honest_scores(run: RunFolder) -> Path:
    """Return where a run keeps its scores of pictures that it did not learn from."""
    return run.oof_scores if run.oof_scores.is_file() else run.validation_scores


def find_run(name: str | None, root: Path) -> RunFolder:
    """Return the run of this name below ``root``, or at this path; without a name, the newest.

    Raises:
        BundleError: There is no such run, or it is not finished.
    """
    if name is None:
        return _newest_run(root)
    places = [RunFolder(root / name), RunFolder(Path(name))]
    for run in places:
        if run.is_finished:
            return run
    names = ", ".join(run.path.name for run in finished_runs(root)) or "none"
    if any(run.settings.is_file() for run in places):
        what = f"it is not finished; go on with `roi-cls train DATA --run {name} --resume`"
    elif Path(name).is_dir():
        what = "there is none, and the folder of that name holds no run"
    else:
        what = "there is none"
    raise BundleError(
        f"Cannot use the run {name!r}: {what}. Finished runs in {str(root)!r}: {names}."
    )


def _newest_run(root: Path) -> RunFolder:
    runs = finished_runs(root)
    if not runs:
        raise BundleError(
            f"Cannot choose a run: there is no finished one in {str(root)!r}. "
            "Train one with `make train` or `roi-cls train DATA`, or name one with --run."
        )
    return max(runs, key=lambda run: (run.path / CONFIG_NAME).stat().st_mtime_ns)


def finished_runs(root: Path) -> list[RunFolder]:
    """Return the finished runs in a folder of runs, by name; none where there is no such folder."""
    return [run for run in all_runs(root) if run.is_finished]


def all_runs(root: Path) -> list[RunFolder]:
    """Return what may be a run in a folder of runs, by name, finished or not."""
    if not root.is_dir():
        return []
    return [RunFolder(path) for path in sorted(root.iterdir()) if path.is_dir()]
