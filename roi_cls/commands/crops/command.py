"""The commands of the crop stage: crops, crops show, cache info, cache verify, cache prune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from roi_cls.cache.options import Shard
from roi_cls.console.arguments import (
    CACHE,
    Cache,
    ClusterAddress,
    DetectorModelPath,
    EngineChoice,
    Inputs,
    Json,
    LocalCache,
    MaxPixels,
    ShardText,
    Workers,
    parse_path,
)
from roi_cls.console.fields import settings_options
from roi_cls.console.help import App, usual_options
from roi_cls.console.terminal import exit_with, show
from roi_cls.roi import CropParams
from roi_cls.roi.image_header import MAX_PIXELS

cache_app = App()


@usual_options(
    crop="--margin --size --fallback --detector --face --min-score --min-face --align --crop",
    output="--manifest --contact-sheet --json",
    machine="--workers --cache",
)
@settings_options
def crops(
    inputs: Inputs,
    params: CropParams,
    cache: Cache = CACHE,
    manifest: Annotated[
        Path | None,
        typer.Option(
            parser=parse_path,
            metavar="<path>",
            help="Also write all rows: .jsonl, .csv or .parquet.",
        ),
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also draw a page of crops, doubtful first: .jpg or .png.")
    ] = None,
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    engine: EngineChoice = "local",
    address: ClusterAddress = None,
    shard: ShardText = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
) -> None:
    """Find and cut the faces of pictures, and keep the crops.

    To see what is cut out of one picture: roi-cls crops show img.png

    Example: roi-cls crops photos --margin 0.5 --contact-sheet sheet.jpg
    """
    from roi_cls.cache.options import BuildOptions
    from roi_cls.commands.crops.run import CropJob, crop_inputs, summary_text

    options = BuildOptions(cache, workers, max_pixels, engine, address, _parse_shard(shard))
    job = CropJob(inputs, params, options, detector_model, manifest, contact_sheet)
    summary = crop_inputs(job).to_dict()
    show(json.dumps(summary) if as_json else summary_text(summary))
    exit_with(summary["errors"])


@usual_options(
    crop="--margin --size --fallback --detector --face --min-score --min-face --align",
    output="--output",
)
@settings_options
def crops_show(
    picture: Annotated[str, typer.Argument(help="One picture.")],
    params: CropParams,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to draw: .png or .jpg.")
    ] = Path("crop-view.png"),
    detector_model: DetectorModelPath = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Draw the faces seen in a picture, and its crop beside it.

    Example: roi-cls crops show img.png --margin 0.5 -o view.png
    """
    from roi_cls.commands.crops.show import view_crop

    show(view_crop(picture, params, output, detector_model, max_pixels))


@cache_app.command("info")
def cache_info(cache: LocalCache = CACHE, as_json: Json = False) -> None:
    """Say what the cache holds, by recipe, with sizes and ages.

    Example: roi-cls cache info --cache artifacts/crops
    """
    from roi_cls.commands.crops.run import tell_cache

    tell_cache(cache, as_json)


@cache_app.command("verify")
def cache_verify(cache: LocalCache = CACHE, as_json: Json = False) -> None:
    """Check every entry; name and remove the damaged, which are made again when needed.

    Example: roi-cls cache verify --cache artifacts/crops
    """
    from roi_cls.commands.crops.run import verify_cache

    exit_with(verify_cache(cache, as_json))


@cache_app.command("prune")
def cache_prune(
    cache: LocalCache = CACHE,
    recipe: Annotated[
        list[str] | None, typer.Option(help="Remove what 'cache info' lists under this name.")
    ] = None,
    unused_for: Annotated[
        str | None, typer.Option(help="Remove what no run has used for so long, like 30d or 12h.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="Remove the longest unused until so much is left, like 10GB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Give space back: by recipe, age or size; what a running command uses is kept.

    Example: roi-cls cache prune --unused-for 30d --dry-run
    """
    from roi_cls.commands.crops.run import choose_pruning, prune_cache

    prune_cache(cache, choose_pruning(recipe, unused_for, max_size), dry_run, as_json)


def _parse_shard(text: str | None) -> Shard | None:
    try:
        return Shard.parse(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"--shard: {error}") from error
