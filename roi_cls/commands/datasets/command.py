"""The commands of the data stage: data demo, import, audit, labels, spoil."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from roi_cls.base.rows import to_json
from roi_cls.console.arguments import (
    CACHE,
    RUNS,
    Data,
    Json,
    LabelNames,
    LocalCache,
    MaxPixels,
    RunName,
    Runs,
    Target,
    Workers,
    check_data,
    check_group_regex,
    choose_run,
)
from roi_cls.console.help import App
from roi_cls.console.terminal import exit_with, progress, show
from roi_cls.roi.image_header import MAX_PIXELS

data_app = App()


@data_app.command("demo")
def data_demo(
    folder: Annotated[Path, typer.Argument(help="Folder to draw into.")],
    images: Annotated[int | None, typer.Option(min=1, help="Pictures; unset: 600.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other people.")] = 0,
) -> None:
    """Draw the demo set: labelled pictures of drawn people, one in ten with an artefact.

    Example: roi-cls data demo drawn --images 200
    """
    show(_draw_demo(folder, images, seed))


def _draw_demo(folder: Path, images: int | None, seed: int) -> str:
    """Draw the demo set with progress on stderr; return what there is now, in words."""
    from roi_cls.data.demo.draw import DemoParams, draw_demo

    params = DemoParams(seed=seed) if images is None else DemoParams(images, seed)
    drawn = 0
    with progress("Drawing") as advance:

        def on_drawn(count: int) -> None:
            nonlocal drawn
            drawn += count
            advance(drawn, params.images, "")

        summary = draw_demo(folder, params, progress=on_drawn)
    return (
        f"{folder}: {summary.images} pictures ({summary.drawn} drawn now); "
        f"train {summary.clean_train} artefactless, {summary.artefacts_train} artefact; "
        f"test {summary.clean_test} artefactless, {summary.artefacts_test} artefact"
    )


@data_app.command("import")
def data_import(
    review: Annotated[Path, typer.Argument(help="What `roi-cls serve --review` wrote.")],
    pictures: Annotated[
        list[str], typer.Option(help="File or folder that holds its pictures; may come again.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The data set to write, a CSV.")
    ] = Path("corrected.csv"),
    as_json: Json = False,
) -> None:
    """Make a data set of verdicts that people corrected: its pictures, with the right labels.

    Exit code 3: corrections whose picture was not found, each told on stderr.

    Example: roi-cls data import artifacts/review.csv --pictures photos
    """
    from roi_cls.commands.datasets.corrections import import_corrections

    summary = import_corrections(review, pictures, output)
    show(to_json(asdict(summary)) if as_json else summary.text())
    exit_with(summary.unmatched)


@data_app.command("audit")
def data_audit(
    source: Data,
    labels: LabelNames = None,
    target: Target = None,
    group_regex: Annotated[
        str | None,
        typer.Option(
            callback=check_group_regex, help="Finds in a path what pictures of one group share."
        ),
    ] = None,
    as_json: Json = False,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """List duplicates, leaks, label conflicts, and what but the content tells the label.

    Exit code 1: equal or like pictures, or one group, in two parts; equal pictures with two
    labels. 3: files that cannot be read.

    Example: roi-cls data audit photos --group-regex 'person_([0-9]+)'
    """
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.commands.datasets.audit import AuditJob, audit_and_tell
    from roi_cls.data.sample import parse_label_names

    options = BuildOptions(CACHE, workers, max_pixels)  # it reads the files, not the cache
    names = parse_label_names(labels) if labels else None
    raise typer.Exit(audit_and_tell(AuditJob(source, options, names, target, group_regex), as_json))


@data_app.command("labels")
def data_labels(
    run: RunName = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="How many to list; unset: all that look wrong.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table.")] = False,
    runs: Runs = RUNS,
) -> None:
    """List labels that are likely wrong, by a run's out-of-fold scores: train it with --folds.

    Example: roi-cls data labels --run folded --top 20
    """
    from roi_cls.commands.datasets.audit import ListForm, list_doubtful_labels

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    form: ListForm = "json" if as_json else "csv" if as_csv else "text"
    show(list_doubtful_labels(choose_run(run, runs), top, form))


@data_app.command("spoil")
def data_spoil(
    source: Data,
    sheet: Annotated[Path, typer.Option(help="Page to draw, .jpg or .png.")] = Path("spoiled.jpg"),
    labels: LabelNames = None,
    target: Target = None,
    margin: Annotated[
        float, typer.Option(min=0.0, max=5.0, help="Around the face, as a share of its box.")
    ] = 0.1,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of a crop, px.")] = 224,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other defects.")] = 0,
    cache: LocalCache = CACHE,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Draw the defects that train --self-blend puts on faces.

    Example: roi-cls data spoil photos --sheet spoiled.jpg
    """
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.commands.datasets.spoiled import SpoilJob, draw_spoiled
    from roi_cls.data.sample import parse_label_names
    from roi_cls.roi import CropParams

    names = parse_label_names(labels) if labels else None
    params = CropParams(margin=margin, size_px=size)
    options = BuildOptions(cache, workers, max_pixels)
    show(draw_spoiled(SpoilJob(source, sheet, params, options, names, target, seed)))
