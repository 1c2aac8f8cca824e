"""The command of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roi_cls.console.arguments import (
    CACHE,
    RUNS,
    Cache,
    DetectorModelPath,
    DeviceName,
    GroupRegex,
    MaxPixels,
    RunName,
    Runs,
    RunWord,
    Workers,
    choose_run,
    parse_path,
)
from roi_cls.console.help import usual_options
from roi_cls.console.terminal import show
from roi_cls.roi.image_header import MAX_PIXELS


@usual_options(
    run="--run --runs --data",
    output="--output --group-regex --pictures --audit",
    machine="--device --workers --cache",
)
def report(
    word: RunWord = None,
    run: RunName = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--data",
            parser=parse_path,
            metavar="<path>",
            help="Where the data set lies now, if it moved or another was evaluated.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file; unset: report.html in the run."),
    ] = None,
    group_regex: GroupRegex = None,
    pictures: Annotated[
        bool, typer.Option(help="Show pictures; without, the report holds nobody's face.")
    ] = True,
    audit: Annotated[
        bool, typer.Option(help="Say whether the data are sound; reads every picture.")
    ] = True,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write what a run is worth into one HTML file that opens offline.

    Example: roi-cls report --run first
    """
    folder = choose_run(run, runs, word)  # before torch is loaded for seconds
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.runs.writing import hold_place
    from roi_cls.commands.report.run import ReportJob, write_report

    file = output or folder.report
    options = BuildOptions(cache, workers, max_pixels)
    job = ReportJob(
        folder, file, options, source, device, detector_model, pictures, audit, group_regex
    )
    with hold_place(folder, file):
        write_report(job)
    show(f"Report on run {folder.path.name!r}: {file}")
