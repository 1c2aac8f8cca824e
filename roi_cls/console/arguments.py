"""Arguments and options that several commands share, and which run they mean.

One name, one help text, one variable of the environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from roi_cls.base.location import as_path, is_remote
from roi_cls.cache.options import EngineName
from roi_cls.classifier.config import Device, Runtime, TrackerName
from roi_cls.console.terminal import note
from roi_cls.data.units import compile_group_regex

if TYPE_CHECKING:
    from roi_cls.classifier.runs.folder import RunFolder


CACHE = Path("artifacts/crops")
"""Where crops are kept unless told otherwise."""
RUNS = Path("artifacts/runs")
"""Where runs are kept unless told otherwise."""


def parse_path(text: str | Path) -> Path:
    """Return the path that an option names, local or remote; defaults come as paths."""
    return as_path(str(text))


def _parse_tracker(text: str) -> TrackerName:
    """Return the experiment tracker that an option names; another is wrong usage."""
    for name in get_args(TrackerName):
        if text == name:
            return cast(TrackerName, name)
    raise typer.BadParameter(f"{text!r} is none of {', '.join(get_args(TrackerName))}")


def read_trackers(names: Sequence[str] | None, *more: TrackerName) -> tuple[TrackerName, ...]:
    """Return what ``--log`` names, each once."""
    return tuple(dict.fromkeys([*map(_parse_tracker, names or ()), *more]))


def check_folds(folds: int | None) -> int | None:
    """Return the number of folds; one fold alone is wrong usage."""
    if folds == 1:
        raise typer.BadParameter("must be 0, or 2 or more, got 1")
    return folds


def check_group_regex(text: str | None) -> str | None:
    """Return the regular expression that names groups; what is none is wrong usage."""
    try:
        if text is not None:
            compile_group_regex(text)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("group_regex ")) from error
    return text


def suggest_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the finished runs whose names begin so, for a shell to complete."""
    from roi_cls.classifier.runs.folder import finished_runs

    names = (run.path.name for run in finished_runs(ctx.params.get("runs") or RUNS))
    return [name for name in names if name.startswith(incomplete)]


def suggest_begun_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the runs whose names begin so and that can be resumed, for a shell to complete."""
    from roi_cls.classifier.runs.folder import all_runs

    begun = [run for run in all_runs(ctx.params.get("runs") or RUNS) if run.settings.is_file()]
    names = (run.path.name for run in begun if not run.is_finished)
    return [name for name in names if name.startswith(incomplete)]


Data = Annotated[Path, typer.Argument(help="Folder, archive or CSV of labelled pictures.")]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Pictures: files, folders, archives, patterns, lists (.txt, .csv)."),
]
Cache = Annotated[
    Path,
    typer.Option(
        envvar="ROI_CLS_CACHE",
        parser=parse_path,
        metavar="<path>",
        help="Folder of the crop cache, here or on s3://…",
    ),
]
LocalCache = Annotated[
    Path,
    typer.Option(
        envvar="ROI_CLS_CACHE",
        parser=parse_path,  # so that a remote one is told to be remote
        metavar="<path>",
        help="Folder of the crop cache, on this machine.",
    ),
]
Runs = Annotated[Path, typer.Option(envvar="ROI_CLS_RUNS", help="Folder of the runs.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        envvar="ROI_CLS_WORKERS",
        help="Processes that decode and detect; 0: this one; unset: one per core if worth it.",
    ),
]
EngineChoice = Annotated[
    EngineName,
    typer.Option(envvar="ROI_CLS_ENGINE", help="Who crops: this machine, or a Ray cluster."),
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        envvar="ROI_CLS_ADDRESS", help="Of the Ray cluster; unset: one started on this machine."
    ),
]
ShardText = Annotated[
    str | None,
    typer.Option(
        "--shard", envvar="ROI_CLS_SHARD", help="Take only this part of the pictures, like 3/8."
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        min=1, envvar="ROI_CLS_MAX_PIXELS", help="Larger pictures are refused, not decoded."
    ),
]
DetectorModelPath = Annotated[
    Path | None,
    typer.Option(envvar="ROI_CLS_DETECTOR_MODEL", help="Face detector: a .tflite file or folder."),
]
LabelNames = Annotated[
    str | None, typer.Option(help="Names of the classes, like 0=artefact,1=artefactless.")
]
Target = Annotated[
    str | None, typer.Option(help="The class that is looked for; unset: the rarest.")
]
GroupRegex = Annotated[
    str | None,
    typer.Option(
        callback=check_group_regex,
        help="Tell the score by source, which this pattern finds in a path; unset: by what kept "
        "pictures together in training, if that is few large groups.",
    ),
]
RunName = Annotated[
    str | None,
    typer.Option(
        "--run",
        autocompletion=suggest_runs,
        help="Name or folder of a run; unset: the newest.",
    ),
]
RunWord = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", autocompletion=suggest_runs, help="The same as --run."),
]
RunWords = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", autocompletion=suggest_runs, help="The same as --run."),
]
RunNames = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        autocompletion=suggest_runs,
        help="Name or folder of a run, several for their mean; unset: the newest.",
    ),
]
ModelFile = Annotated[
    Path | None, typer.Option("--model", help="An exported .onnx file, in place of a run.")
]
DeviceName = Annotated[Device, typer.Option(envvar="ROI_CLS_DEVICE", help="Where to compute.")]
RuntimeName = Annotated[
    Runtime,
    typer.Option(
        "--runtime",
        envvar="ROI_CLS_RUNTIME",
        help="What computes: auto is ONNX Runtime on CPUs where the run has the file, else torch.",
    ),
]
Export = Annotated[
    bool,
    typer.Option(
        "--export/--no-export",
        envvar="ROI_CLS_EXPORT",
        help="End with model.onnx, which predicts on CPUs: takes some seconds.",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        parser=_parse_tracker,
        metavar=f"<{'|'.join(get_args(TrackerName))}>",
        help="Also tell an experiment tracker: tensorboard, mlflow, wandb; several by several.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folds = Annotated[
    int,
    typer.Option(
        min=0,
        callback=check_folds,
        help="Cross-validate in so many folds: a model per fold of the training data, joined into "
        "one run with out-of-fold scores; 0: one model and one validation part.",
    ),
]


def check_data(source: Path) -> None:
    """Refuse a mistyped data set at once, before torch is loaded for seconds.

    Raises:
        DataError: It is neither a folder nor a CSV; one elsewhere is not looked at yet.
    """
    from roi_cls.data.collect import check_data_set

    if not is_remote(source):
        check_data_set(source)


def choose_run(name: str | None, runs: Path, word: str | None = None) -> RunFolder:
    """Return the run of this name; without one the newest, which is told.

    Args:
        name: As an option names it.
        runs: Folder of the runs.
        word: As an argument names it.

    Raises:
        BundleError: There is no such run, or it is not finished.
        typer.BadParameter: Both name one, and not the same.
    """
    from roi_cls.classifier.runs.folder import find_run

    if name and word and name != word:
        raise typer.BadParameter(f"two runs are named, {word!r} and --run {name}; name one")
    name = name or word
    run = find_run(name, runs)
    if name is None:
        note(f"Using run {run.path.name!r}, the newest in {runs}.")
    return run


def choose_models(names: Sequence[str] | None, model: Path | None, runs: Path) -> tuple[Path, ...]:
    """Return the folders of the runs of these names, or the exported file in their place.

    Without either the newest run, which is told.

    Raises:
        BundleError: There is no such run, or it is not finished.
        typer.BadParameter: Both were given.
    """
    if names and model:
        raise typer.BadParameter("--run and --model exclude each other")
    if model:
        return (model,)
    if not names:
        return (choose_run(None, runs).path,)
    return tuple(choose_run(name, runs).path for name in names)


def run_arguments(run: Path, runs: Path) -> list[str]:
    """Return the words that name a run on the command line."""
    if run.parent != runs:  # a run may be named by its folder, anywhere
        return ["--run", str(run)]
    return ["--run", run.name, *([] if runs == RUNS else ["--runs", str(runs)])]
