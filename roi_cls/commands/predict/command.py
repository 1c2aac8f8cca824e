"""The command that predicts: files, folders, patterns, lists, URLs, videos, what is piped in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roi_cls.classifier.config import Aggregate
from roi_cls.console.arguments import (
    RUNS,
    DetectorModelPath,
    DeviceName,
    Json,
    MaxPixels,
    ModelFile,
    RunNames,
    Runs,
    RuntimeName,
    Workers,
    choose_models,
    parse_path,
)
from roi_cls.console.help import usual_options
from roi_cls.console.terminal import exit_with
from roi_cls.inputs.arguments import (
    FETCHED,
    AllowPrivate,
    AnyInputs,
    EveryText,
    MaxBytes,
    Timeout,
    read_source_options,
)
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import Damaged, FaceChoice

if TYPE_CHECKING:
    from roi_cls.commands.predict.output import RowForm


_KEPT = "What is kept"
_ANSWER = "The answer"


@usual_options(
    model="--run --runs --model",
    answer="--threshold --abstain --face --every",
    output="--json --jsonl --csv --output --draw --save-crops",
    machine="--device --runtime --batch --workers",
)
def predict(
    inputs: AnyInputs,
    run: RunNames = None,
    model: ModelFile = None,
    as_json: Json = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print a JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table.")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write a Parquet table; needs -o.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write there, not to stdout; its suffix says the form where no option does.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            rich_help_panel=_ANSWER,
            help="Probability of the target from which it is the answer; unset: the model's.",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            rich_help_panel=_ANSWER,
            help="Answers this near to the threshold are unsure; unset: the model's.",
        ),
    ] = None,
    face: Annotated[
        FaceChoice | None,
        typer.Option(rich_help_panel=_ANSWER, help="Which face to look at; unset: as in training."),
    ] = None,
    damaged: Annotated[
        Damaged | None,
        typer.Option(
            rich_help_panel=_ANSWER,
            help="Pictures that are cut off or damaged: in error, or read as far as they go and "
            "marked; unset: as in training.",
        ),
    ] = None,
    aggregate: Annotated[
        Aggregate,
        typer.Option(
            rich_help_panel=_ANSWER,
            help="With --face all: how the faces make the picture's answer.",
        ),
    ] = "max",
    every: EveryText = "0.5s",
    video_aggregate: Annotated[
        Aggregate,
        typer.Option(rich_help_panel=FETCHED, help="How the frames make the video's answer."),
    ] = "mean",
    timeout: Timeout = 30.0,
    max_bytes: MaxBytes = "100MB",
    allow_private: AllowPrivate = False,
    save_crops: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="<folder>",
            rich_help_panel=_KEPT,
            help="Folder for the crops that were looked at, as PNG.",
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="<folder>",
            rich_help_panel=_KEPT,
            help="Folder for the pictures with face and answer drawn on them.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch", min=1, help="Pictures scored at once.")
    ] = 32,
    workers: Workers = None,
    device: DeviceName = "auto",
    half: Annotated[
        bool,
        typer.Option(
            "--half", help="Compute in half precision: faster; probabilities off by up to 0.01."
        ),
    ] = False,
    runtime: RuntimeName = "auto",
    runs: Runs = RUNS,
    detector_model: DetectorModelPath = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Print label, probability and what was looked at, for each picture in order.

    A line per frame of a video, then one for the video; in a terminal, several are a table with
    totals. Exit code 3: some inputs are in error.

    Example: cat img.png | roi-cls predict - --json
    """
    from roi_cls.classifier.inference.prediction import PredictOptions
    from roi_cls.commands.predict.run import PredictJob, predict_and_print

    form = _choose_form(
        {"json": as_json, "jsonl": jsonl, "csv": as_csv, "parquet": parquet}, output
    )
    if aggregate != "max" and face != "all":
        raise typer.BadParameter(f"--aggregate {aggregate} is for --face all: give both")
    options = PredictOptions(
        batch_size,
        workers,
        max_pixels,
        face,
        aggregate,
        threshold,
        abstain,
        detector_model,
        damaged,
    )
    sources = read_source_options(every, timeout, max_bytes, allow_private, max_pixels)
    models = choose_models(run, model, runs)
    job = PredictJob(
        inputs,
        models,
        form,
        output,
        device,
        half,
        runtime,
        options,
        sources,
        video_aggregate,
        save_crops,
        draw,
    )
    exit_with(predict_and_print(job))


def _choose_form(wanted: dict[RowForm, bool], output: Path | None) -> RowForm:
    """Return the form that an option names, else that of the output's suffix, else text."""
    from roi_cls.commands.predict.output import SUFFIX_FORMS

    named: list[RowForm] = [form for form, is_wanted in wanted.items() if is_wanted]
    if len(named) > 1:
        raise typer.BadParameter("--json, --jsonl, --csv and --parquet exclude each other")
    if named == ["parquet"] and output is None:
        raise typer.BadParameter("--parquet needs a file to write to: give -o FILE")
    by_suffix = SUFFIX_FORMS.get(output.suffix.lower(), "text") if output else "text"
    return named[0] if named else by_suffix
