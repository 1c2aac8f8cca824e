"""The command that hands a model on: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from roi_cls.console.arguments import (
    RUNS,
    DetectorModelPath,
    RunName,
    Runs,
    RunWord,
    choose_run,
    parse_path,
)
from roi_cls.console.help import usual_options

ExportFormat = Literal["onnx", "timm"]


@usual_options(run="--run --runs --data", output="--format --output --int8 --license")
def export(
    word: RunWord = None,
    run: RunName = None,
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="onnx: one file that needs no torch; timm: a folder."),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The .onnx file or timm's folder; unset: within the run."
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write a smaller .int8.onnx, and say what it costs.")
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--data",
            parser=parse_path,
            metavar="<path>",
            help="Where the run's data lie now, if they moved; or other pictures to compare on.",
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Of ONNX's operators, from 18; unset: 20.")
    ] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", help="License on timm's card, like apache-2.0.")
    ] = None,
    runs: Runs = RUNS,
    detector_model: DetectorModelPath = None,
) -> None:
    """Write a run's model for use elsewhere: proven on real crops (onnx), or with a card (timm).

    Example: roi-cls export --run first --int8
    """
    folder = choose_run(run, runs, word)  # before torch is loaded for seconds
    from roi_cls.classifier.export.onnx import OPSET
    from roi_cls.classifier.export.run import ExportJob
    from roi_cls.classifier.runs.writing import hold_place
    from roi_cls.commands.export.run import export_onnx_and_tell, export_timm_and_tell

    _check_format(form, {"--int8": int8, "--data": source, "--opset": opset}, license_name, output)
    if form == "timm":
        place = output or folder.path / "timm"
        with hold_place(folder, place):
            export_timm_and_tell(folder, place, license_name)
        return
    file, number = output or folder.onnx, OPSET if opset is None else opset
    with hold_place(folder, file):
        export_onnx_and_tell(ExportJob(folder, file, int8, number, source, detector_model))


def _check_format(
    form: ExportFormat, for_onnx: dict[str, object], license_name: str | None, output: Path | None
) -> None:
    """Refuse what only the other format takes, and a file of another name than ``.onnx``."""
    from roi_cls.classifier.inference.scorer import EXPORTED_SUFFIX

    wrong = [name for name, value in for_onnx.items() if value and form != "onnx"]
    if license_name and form != "timm":
        wrong.append("--license")
    if wrong:
        raise typer.BadParameter(f"{', '.join(wrong)} cannot be used with --format {form}")
    if form == "onnx" and output and output.suffix != EXPORTED_SUFFIX:
        raise typer.BadParameter(f"--output must end in {EXPORTED_SUFFIX}, got {str(output)!r}")
