"""The command that explains: what on a picture speaks for a class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
    choose_models,
    parse_path,
)
from roi_cls.console.help import usual_options
from roi_cls.console.terminal import exit_with
from roi_cls.inputs.arguments import (
    AllowPrivate,
    AnyInputs,
    EveryText,
    MaxBytes,
    Timeout,
    read_source_options,
)
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import FaceChoice

EXPLAINED = Path("artifacts/explained")
_Method = Literal["grad-cam", "occlusion"]


@usual_options(
    model="--run --runs --model",
    explanation="--method --label --check --face",
    output="--output --json",
    machine="--device --runtime",
)
def explain(
    inputs: AnyInputs,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=parse_path,
            metavar="<folder>",
            help="Folder of the drawings, one PNG for each picture.",
        ),
    ] = EXPLAINED,
    run: RunNames = None,
    model: ModelFile = None,
    method: Annotated[
        _Method,
        typer.Option(
            help="How it is found: by a network's gradients, or by covering place after place, "
            "which is slower."
        ),
    ] = "grad-cam",
    label: Annotated[
        str | None,
        typer.Option(help="Class to explain; unset: of two the target, of more the answer."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Tell how far Grad-CAM agrees with occlusion, too.")
    ] = False,
    face: Annotated[
        FaceChoice | None, typer.Option(help="Which face to look at; unset: as in training.")
    ] = None,
    as_json: Json = False,
    every: EveryText = "0.5s",
    timeout: Timeout = 30.0,
    max_bytes: MaxBytes = "100MB",
    allow_private: AllowPrivate = False,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    detector_model: DetectorModelPath = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Draw what on each picture speaks for a class: on the crop, and in its place on the frame.

    Exit code 3: some inputs are in error.

    Example: roi-cls explain photos --label artefact -o why
    """
    from roi_cls.classifier.inference.prediction import PredictOptions
    from roi_cls.commands.explain.run import ExplainJob, explain_and_print

    options = PredictOptions(max_pixels=max_pixels, face=face, detector_model=detector_model)
    sources = read_source_options(every, timeout, max_bytes, allow_private, max_pixels)
    models = choose_models(run, model, runs)
    job = ExplainJob(
        inputs, models, output, method, label, check, as_json, device, runtime, options, sources
    )
    exit_with(explain_and_print(job))
