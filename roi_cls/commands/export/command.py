"""The command that hands a model on: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from roi_cls.console.arguments import RUNS, DetectorModel, RunName, Runs, parse_path
from roi_cls.console.runs import choose_run

Format = Literal["onnx", "timm"]


def export(
    run: RunName = None,
    form: Annotated[
        Format,
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
        str | None, typer.Option("--license", help="For timm's card, like apache-2.0.")
    ] = None,
    runs: Runs = RUNS,
    detector_model: DetectorModel = None,
) -> None:
    """Write a run's model for use elsewhere: proven on real crops (onnx), or with a card (timm).

    Example: roi-cls export --run first --int8
    """
    from roi_cls.commands.export.run import ExportOrder, export_and_tell

    folder = choose_run(run, runs)
    order = ExportOrder(folder, form, output, int8, source, opset, license_name, detector_model)
    export_and_tell(order)
