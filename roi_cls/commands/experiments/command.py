"""The commands that try several systems, or list what to try: models, recipes, compare, ...."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.recipe import (
    Combine,
    TrainingRecipe,
    crop_fields,
    load_recipe,
    recipe_names,
)
from roi_cls.console.arguments import (
    CACHE,
    RUNS,
    Cache,
    Data,
    DetectorModelPath,
    DeviceName,
    Export,
    Folds,
    Json,
    LabelNames,
    Log,
    MaxPixels,
    Runs,
    Target,
    Workers,
    check_data,
    check_folds,
    choose_run,
    read_trackers,
    run_arguments,
    suggest_runs,
)
from roi_cls.console.fields import (
    RecipeName,
    changed_options,
    given_settings,
    settings_options,
    suggest_recipes,
)
from roi_cls.console.help import usual_options
from roi_cls.console.terminal import exit_with, note_next, show
from roi_cls.console.words import parse_span
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams
from roi_cls.roi.image_header import MAX_PIXELS

if TYPE_CHECKING:
    from roi_cls.classifier.experiments.ablate import InputKind


_INPUTS = ("roi", "full", "both")
Seeds = Annotated[
    int, typer.Option("--seeds", min=1, help="Times that each is trained and tested, anew seeded.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the runs and tables; unset: among the runs."),
]


def recipes() -> None:
    """List the training recipes: whole systems by name, for train, compare and ablate.

    Example: roi-cls recipes
    """
    # Here, not in run.py: a list of names must not wait for torch.
    found = [load_recipe(name) for name in recipe_names()]
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        show(f"{recipe.name:<{width}}  {recipe.description}")


def models(
    pattern: Annotated[
        str | None,
        typer.Argument(help="Of timm's names, like 'resnet*'; unset: the common ones."),
    ] = None,
    speed: Annotated[
        bool | None,
        typer.Option(
            "--speed/--no-speed",
            help="Measure pictures/s of each here; unset: of the common ones.",
        ),
    ] = None,
    device: DeviceName = "auto",
    as_json: Json = False,
) -> None:
    """List models for --model: where their weights are, how large and how fast.

    Example: roi-cls models 'efficientnet*' --speed
    """
    from roi_cls.commands.experiments.models import tell_models

    tell_models(pattern, pattern is None if speed is None else speed, device, as_json)


@usual_options(
    data="--target --labels --group-regex --test-share --validation-share",
    systems="--recipes --seeds --epochs --folds --weights --missing-weights --size",
    output="--output --runs",
    machine="--device --workers --cache",
)
@settings_options
def compare(
    source: Data,
    split: SplitParams,
    recipes: Annotated[
        str | None,
        typer.Option(
            autocompletion=suggest_recipes,
            help="Names or .toml files, like best,classical; unset: all.",
        ),
    ] = None,
    seeds: Seeds = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs at most, of every recipe.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=0, callback=check_folds, help="As in train; unset: each recipe's own."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="As in train, for all recipes that start from some; unset: their own."),
    ] = None,
    missing_weights: Annotated[
        Literal["stand-in", "skip", "random"],
        typer.Option(
            help="Where a recipe's weights cannot be had: train the default model in its place and "
            "mark the row, say so in place of a result, or start from random ones."
        ),
    ] = "stand-in",
    size: Annotated[
        int | None,
        typer.Option(help="Side of all crops but CLIP's, in pixels; unset: each recipe's own."),
    ] = None,
    output: Output = None,
    log: Log = None,
    labels: LabelNames = None,
    target: Target = None,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Train and test any set of recipes on the same data, split and budget; print one table.

    What is finished is not done again. Exit code 3: a recipe could not be run; its row says why.

    Example: roi-cls compare photos --recipes resnet18-full,best --seeds 3
    """
    chosen = _load_recipes(recipes)
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.experiments.trial import Budget, ExperimentJob
    from roi_cls.commands.experiments.run import compare_and_tell
    from roi_cls.data.sample import parse_label_names

    job = ExperimentJob(
        source,
        output or runs / f"compare-{source.stem}",
        split,
        BuildOptions(cache, workers, max_pixels),
        Budget(seeds, epochs, folds, weights, size),
        device,
        parse_label_names(labels) if labels else None,
        target,
        detector_model,
        missing_weights,
        read_trackers(log),
    )
    title = f"Systems compared on {source.name}"
    exit_with(compare_and_tell(job, chosen, title))


@usual_options(
    data="--target --labels --group-regex --test-share --validation-share",
    comparison="--inputs --seeds --folds",
    model="--recipe --model --weights --epochs --batch-size --lr",
    crop="--margin --size --fallback --detector",
    output="--output --runs",
    machine="--device --workers --cache",
)
@settings_options
def ablate(
    ctx: typer.Context,
    source: Data,
    config: TrainConfig,
    params: CropParams,
    split: SplitParams,
    inputs: Annotated[
        str, typer.Option(help="What the model is given: roi, full, both; two or more.")
    ] = "roi,full,both",
    repeats: Seeds = 1,
    recipe: RecipeName = None,
    folds: Folds = 0,
    output: Output = None,
    log: Log = None,
    labels: LabelNames = None,
    target: Target = None,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Does the face crop help? The same system on face, full frame and both, compared pairwise.

    Example: roi-cls ablate photos --inputs roi,full,both --seeds 3
    """
    kinds = _parse_inputs(inputs)
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.experiments.trial import Budget, ExperimentJob
    from roi_cls.commands.experiments.run import ablate_and_tell
    from roi_cls.data.sample import parse_label_names

    name = recipe.name if recipe else config.model
    job = ExperimentJob(
        source,
        output or runs / f"ablate-{source.stem}-{name}",
        split,
        BuildOptions(cache, workers, max_pixels),
        Budget(repeats),
        config.device,
        parse_label_names(labels) if labels else None,
        target,
        detector_model,
        log=read_trackers(log),
    )
    system = TrainingRecipe(
        name=name,
        train=asdict(config),
        crop={field: getattr(params, field) for field in crop_fields()},
        folds=folds,
        seeds=recipe.seeds if recipe else 1,
        members=recipe.members if recipe else (),
    )
    # Without a recipe, the command line chose the model, if only by its default.
    given = given_settings(ctx) if recipe else {"model": config.model}
    ablate_and_tell(job, system, given, kinds, f"Inputs compared on {source.name}")


@usual_options(
    data="--target --labels --group-regex --test-share --validation-share",
    tuning="--budget --trials --base --over --search --folds --score",
    output="--name --output --json --runs",
    machine="--device --workers --cache",
)
@settings_options
def tune(
    source: Data,
    split: SplitParams,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=parse_span,
            metavar="TIME",
            help="Time of this call, like 45m or 2h; the trial at work then is set aside, and the "
            "same command goes on with it.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials in all, those of earlier calls and pruned ones included."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            autocompletion=suggest_recipes,
            help="The recipe to start from; unset: the defaults of train.",
        ),
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(
            help="Settings to try, like model,size,margin, each with its usual values; unset: what "
            "matters for the recipe."
        ),
    ] = None,
    search: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Settings to try with the values of each, a .toml file."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="Folds of the training part, which each trial is scored by.")
    ] = 3,
    score: Annotated[
        Literal["roc_auc", "average_precision"],
        typer.Option(help="What is to be highest: of the target, out of fold."),
    ] = "roc_auc",
    seed: Annotated[int, typer.Option(help="Of the choices among the values.")] = 0,
    name: Annotated[
        str | None,
        typer.Option(help="Of the tuning's folder among the runs; unset: tune-DATA."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File of the best recipe; unset: tuned.toml in the folder."
        ),
    ] = None,
    as_json: Json = False,
    labels: LabelNames = None,
    target: Target = None,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Try settings for a time, scored out of fold and never on the test part; write a recipe.

    Interrupted or killed, it goes on with the same command; several may work at once.

    Example: roi-cls tune photos --budget 2h --over model,size,margin
    """
    if budget is None and trials is None:
        raise typer.BadParameter("give --budget, like 2h, or --trials, or both")
    if over and search:
        raise typer.BadParameter("--over and --search exclude each other")
    if output and output.suffix != ".toml":
        raise typer.BadParameter(f"--output must end in .toml, got {str(output)!r}")
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.experiments.trial import ExperimentJob
    from roi_cls.classifier.experiments.tune import TuneJob
    from roi_cls.commands.experiments.run import choose_space, tune_and_tell
    from roi_cls.data.sample import parse_label_names

    folder = runs / (name or f"tune-{source.stem}")
    experiment = ExperimentJob(
        source,
        folder,
        split,
        BuildOptions(cache, workers, max_pixels),
        device=device,
        label_names=parse_label_names(labels) if labels else None,
        target=target,
        detector_model=detector_model,
        missing_weights="skip",
    )
    recipe = folder / "tuned.toml" if output is None else output
    space = choose_space(base, over, search)
    job = TuneJob(experiment, space, recipe, folds, score, seed, budget, trials)
    tune_and_tell(job, f"Tuning on {source.name}", as_json=as_json)
    # Of another split, the test part would hold pictures that the recipe was chosen by.
    data = {"--labels": labels, "--target": target, "--cache": None if cache == CACHE else cache}
    given = [word for pair in data.items() if pair[1] is not None for word in map(str, pair)]
    words = [*changed_options(split), *given, *run_arguments(runs / recipe.stem, runs)]
    note_next("train", str(source), "--recipe", str(recipe), *words)


def ensemble(
    run: Annotated[
        list[str],
        typer.Option(
            "--run", autocompletion=suggest_runs, help="A finished run; give two or more."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the new run.")],
    combine: Annotated[
        Combine,
        typer.Option(help="How they are weighed: alike, or by a greedy selection on validation."),
    ] = "mean",
    export: Export = True,
    runs: Runs = RUNS,
) -> None:
    """Join finished runs of the same split into one: its score is the mean of theirs.

    Example: roi-cls ensemble --run first --run second --name both
    """
    from roi_cls.classifier.runs.folder import RunFolder
    from roi_cls.commands.experiments.run import join_and_tell

    new = RunFolder(runs / name)
    join_and_tell([choose_run(one, runs) for one in run], new, combine, export=export)
    note_next("evaluate", "DATA", *run_arguments(new.path, runs))


def _load_recipes(names: str | None) -> list[TrainingRecipe]:
    chosen = [name.strip() for name in names.split(",")] if names else list(recipe_names())
    if len(set(chosen)) != len(chosen):
        raise typer.BadParameter(f"--recipes names one twice: {names}")
    try:
        found = [load_recipe(name) for name in chosen]
    except TrainingError as error:
        raise typer.BadParameter(f"--recipes: {error}") from error
    if len({recipe.name for recipe in found}) != len(found):  # each names a row and a folder
        raise typer.BadParameter(f"--recipes names two files alike; rename one: {names}")
    return found


def _parse_inputs(text: str) -> tuple[InputKind, ...]:
    names: list[Any] = [name.strip() for name in text.split(",")]
    if len(names) < 2 or len(set(names)) != len(names) or not set(names) <= set(_INPUTS):
        raise typer.BadParameter(
            f"--inputs must be two or more of {', '.join(_INPUTS)}, got {text!r}"
        )
    return tuple(names)
