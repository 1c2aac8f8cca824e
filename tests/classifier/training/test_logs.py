"""What trackers are told of a training, and that none of them can spoil it."""

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrackerName
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training import logs
from roi_cls.classifier.training.job import EpochReport
from roi_cls.classifier.training.logs import RunLog, check_trackers, flatten_settings

Command = Callable[..., CompletedProcess[str]]
SETTINGS = {
    "source": "/data",
    "config": {"lr": 0.1, "model": "m", "drop": None, "blocks": [1, 2]},
    "crop": {"margin": 0.3},
    "recipe": {"name": "best", "more": 1},
    "label_names": {"0": "a"},
}


def _report(epoch: int) -> EpochReport:
    return EpochReport(epoch, "all", 0.1 / epoch, 0.9, 0.8, 0.1 * epoch, 0.7, True, 1.0, 50.0, 0.6)


def _log(names: list[TrackerName], run: RunFolder, notes: list[str] | None = None) -> RunLog:
    found = RunLog(names, run, (notes if notes is not None else []).append)
    found.start(SETTINGS)
    return found


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "first").mkdir()
    return RunFolder(tmp_path / "first")


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
def test_epochs_are_read_back_and_those_after_an_interrupt_replaced(run: RunFolder) -> None:
    log = _log(["tensorboard"], run)
    assert not run.tensorboard.exists()  # a run that cannot begin leaves no file
    for epoch in (1, 2, 3):
        log.epoch(_report(epoch))
    log.close(failed=True)
    log = _log(["tensorboard"], run)
    for epoch in (3, 4):
        log.epoch(_report(epoch))
    log.finish({"final/threshold": 0.4})
    log.close(failed=False)
    scalars = _read(run.tensorboard)
    epochs, values = zip(*scalars["validation/average_precision"], strict=True)
    assert epochs == (1, 2, 3, 4)
    assert values == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert set(scalars) == {*logs._SCALARS.values(), "final/threshold"}


@pytest.mark.parametrize(
    ("name", "title"),
    [("tensorboard", "TensorBoard"), ("mlflow", "MLflow"), ("wandb", "Weights & Biases")],
)
def test_missing_package_is_told(
    monkeypatch: pytest.MonkeyPatch, name: TrackerName, title: str
) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(TrainingError) as caught:
        check_trackers([name])
    assert str(caught.value) == (
        f"Cannot log to {title}: it is not installed. "
        f"pip install 'roi-cls[{name}]', or leave --log {name} out."
    )
    check_trackers([])


def test_settings_are_told_by_plain_names(run: RunFolder) -> None:
    found = flatten_settings(SETTINGS, run)
    assert found.pop("roi_cls")
    assert found == {
        "lr": 0.1,
        "model": "m",
        "blocks": "[1, 2]",
        "crop.margin": 0.3,
        "recipe": "best",
        "source": "/data",
        "run_folder": str(run.path.absolute()),
    }


class FakeMlflow:
    """What the log uses of MLflow's client; keeps what it is told."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, str] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        """Return an experiment, or None."""
        found = self.experiments.get(name)
        return found and SimpleNamespace(experiment_id=found)

    def create_experiment(self, name: str) -> str:
        """Return its number."""
        return self.experiments.setdefault(name, "7")

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        """Return a new run."""
        name = f"run-{len(self.runs)}"
        told = {"experiment": experiment, "name": run_name, "tags": tags, "status": "RUNNING"}
        self.runs[name] = {**told, "params": {}, "metrics": []}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def update_run(self, name: str, status: str) -> None:
        """Change its status."""
        self.runs[name]["status"] = status

    set_terminated = update_run

    def log_batch(self, name: str, metrics: Any = (), params: Any = ()) -> None:
        """Keep both; not more than MLflow takes."""
        assert len(params) <= 100
        assert all(len(value) <= 6000 for _, value in params)
        self.runs[name]["params"].update(params)
        self.runs[name]["metrics"] += [(key, value, step) for key, value, _, step in metrics]


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    found, module = FakeMlflow(), ModuleType("mlflow")
    module.MlflowClient = lambda: found  # type: ignore[attr-defined]  # reason: a stand-in
    entities = ModuleType("mlflow.entities")
    entities.Param = lambda *values: values  # type: ignore[attr-defined]  # reason: a stand-in
    entities.Metric = lambda *values: values  # type: ignore[attr-defined]  # reason: a stand-in
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    for name in ("MAX_RETRIES", "TIMEOUT"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "1")
    return found


def test_mlflow_is_told_settings_epochs_and_figures_of_one_run(
    run: RunFolder, mlflow: FakeMlflow
) -> None:
    log = _log(["mlflow"], run)
    log.epoch(_report(1))
    log.close(failed=True)
    assert mlflow.runs["run-0"]["status"] == "FAILED"
    log = _log(["mlflow"], run)  # it goes on, there too
    assert mlflow.runs["run-0"]["status"] == "RUNNING"
    log.epoch(replace(_report(2), roc_auc=math.nan, micro_f1=None))
    log.finish({"final/threshold": 0.4, "final/roc_auc": math.nan})
    log.close(failed=False)
    ((name, told),) = mlflow.runs.items()
    assert json.loads(run.tracking.read_bytes()) == {"mlflow": name}
    assert (told["name"], told["status"], told["experiment"]) == ("first", "FINISHED", "7")
    assert mlflow.experiments == {"roi-cls": "7"}
    assert told["params"]["lr"] == "0.1"
    assert told["tags"]["roi_cls.run_folder"] == str(run.path.absolute())
    assert ("validation/roc_auc", 0.7, 1) in told["metrics"]
    assert ("lr", 0.05, 2) in told["metrics"]
    assert ("final/threshold", 0.4, 0) in told["metrics"]
    assert not [row for row in told["metrics"] if math.isnan(row[1])]
    assert {key for key, _, step in told["metrics"] if step == 1} == {*logs._SCALARS.values()}


@pytest.mark.parametrize("fails", ["create_run", "log_batch", "set_terminated"])
def test_tracker_that_fails_costs_one_warning(
    run: RunFolder, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*values: object, **more: object) -> None:
        raise ConnectionError("the server\nis gone")

    monkeypatch.setattr(mlflow, fails, fail)
    notes: list[str] = []
    log = _log(["mlflow"], run, notes)
    log.epoch(_report(1))
    log.finish({})
    log.close(failed=False)
    assert notes == [
        "warning: MLflow is told no more of run 'first', which goes on: ConnectionError: the "
        "server is gone"
    ]


def test_run_that_could_not_begin_is_told_to_nobody(run: RunFolder, mlflow: FakeMlflow) -> None:
    notes: list[str] = []
    log = RunLog(["mlflow", "wandb", "tensorboard"], run, notes.append)
    log.close(failed=True)
    assert (notes, mlflow.runs) == ([], {})


def test_wandb_is_told_the_same(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    summary: dict[str, float] = {}
    session = SimpleNamespace(
        id="abc",
        log=lambda values, step: told.append((values["lr"], step)),
        summary=summary,
        finish=lambda exit_code: told.append(exit_code),
    )
    began: list[dict[str, Any]] = []

    def init(**given: Any) -> Any:
        began.append(given)
        return session

    module = ModuleType("wandb")
    module.init = init  # type: ignore[attr-defined]  # reason: a stand-in
    monkeypatch.setitem(sys.modules, "wandb", module)
    for _ in range(2):
        log = _log(["wandb"], run)
        log.epoch(_report(2))
        log.finish({"final/threshold": 0.4})
        log.close(failed=False)
    assert told == [(0.05, 2), 0] * 2
    assert summary == {"final/threshold": 0.4}
    assert [(one["id"], one["name"], one["project"]) for one in began] == [
        (None, "first", "roi-cls"),
        ("abc", "first", "roi-cls"),
    ]
    assert began[0]["config"]["crop.margin"] == 0.3


@pytest.mark.slow
def test_every_member_of_an_ensemble_is_told_of_by_the_command(
    command: Command,
    mlflow: FakeMlflow,
    tiny_set: Path,
    tiny_train_arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: object())
    places = ["--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    words = ["--run", "two", "--seeds", "2", "--log", "mlflow", "--tensorboard"]
    done = command("train", tiny_set, *tiny_train_arguments, *places, *words)
    assert done.returncode == 0, done.stderr
    assert [one["name"] for one in mlflow.runs.values()] == ["two/seed-0", "two/seed-1"]
    assert {one["status"] for one in mlflow.runs.values()} == {"FINISHED"}
    members = RunFolder(tmp_path / "runs" / "two").members
    assert all(RunFolder(member).tensorboard.is_dir() for member in members.iterdir())


def test_missing_package_is_told_before_a_picture_is_read(
    command: Command, tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    for name in ("train", "compare", "ablate"):
        cache = tmp_path / "cache"
        done = command(name, tiny_set, "--log", "wandb", "--cache", cache, "--runs", tmp_path)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: Cannot log to Weights & Biases: ")
        assert not cache.exists()
    wrong = command("train", tiny_set, "--log", "mflow")
    assert wrong.returncode == 2
    assert "'mflow' is none of tensorboard, mlflow, wandb" in wrong.stderr


@pytest.mark.filterwarnings("ignore")  # reason: MLflow's own, which are not ours to mend
def test_real_mlflow_keeps_a_run_in_a_folder(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = pytest.importorskip("mlflow")  # reason: 17 packages, too many for every test run
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    notes: list[str] = []
    for epochs in ((1, 2), (2, 3)):
        log = _log(["mlflow"], run, notes)
        for epoch in epochs:
            log.epoch(_report(epoch))
        log.finish({"final/threshold": 0.4})
        log.close(failed=False)
    assert notes == []
    client = real.MlflowClient()
    (experiment,) = [one for one in client.search_experiments() if one.name == "roi-cls"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("first", "FINISHED")
    assert found.data.params["crop.margin"] == "0.3"
    assert found.data.metrics["final/threshold"] == 0.4
    history = client.get_metric_history(found.info.run_id, "loss/train")
    assert sorted({one.step for one in history}) == [1, 2, 3]
