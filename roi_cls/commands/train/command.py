"""The commands of a run: train, evaluate, verify."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.recipe import TrainingRecipe
from roi_cls.console.arguments import (
    CACHE,
    RUNS,
    Cache,
    Data,
    DetectorModelPath,
    DeviceName,
    Export,
    Folds,
    GroupRegex,
    Json,
    LabelNames,
    Log,
    MaxPixels,
    RunName,
    Runs,
    RuntimeName,
    RunWord,
    Target,
    Workers,
    check_data,
    choose_run,
    read_trackers,
    suggest_begun_runs,
)
from roi_cls.console.fields import RecipeName, given_settings, settings_options
from roi_cls.console.help import usual_options
from roi_cls.console.terminal import exit_with, note, note_next, show
from roi_cls.data.split import SplitParams
from roi_cls.roi import CropParams
from roi_cls.roi.image_header import MAX_PIXELS


@usual_options(
    data="--target --labels --group-regex --test-share --validation-share",
    model="--recipe --model --weights --epochs --batch-size --lr --augmentation --imbalance",
    crop="--crop --margin --size --fallback --detector",
    run="--run --resume --folds --log --export --runs",
    machine="--device --workers --cache",
)
@settings_options
def train(
    ctx: typer.Context,
    source: Data,
    config: TrainConfig,
    params: CropParams,
    split: SplitParams,
    run: Annotated[
        str | None,
        typer.Option(
            autocompletion=suggest_begun_runs, help="Name of the new run; unset: the time."
        ),
    ] = None,
    recipe: RecipeName = None,
    folds: Folds = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Models that differ by the seed, joined into one run.")
    ] = 1,
    labels: LabelNames = None,
    target: Target = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with this run, or leave it if finished.")
    ] = False,
    log: Log = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="The same as --log tensorboard.")
    ] = False,
    abstain: Annotated[
        float,
        typer.Option(min=0, max=0.99, help="Answers this near to the threshold are unsure."),
    ] = 0.0,
    export: Export = True,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Crop, split and train; leave a run that predicts as it was trained.

    Example: roi-cls train photos --run first --target artefact
    """
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.runs.folder import RunFolder
    from roi_cls.classifier.training.job import TrainJob
    from roi_cls.commands.train.run import next_after_training, train_and_tell
    from roi_cls.data.sample import parse_label_names

    asked = replace(recipe or TrainingRecipe(config.model), folds=folds, seeds=seeds)
    folder = RunFolder(runs / (run or f"{datetime.now():%Y%m%d-%H%M%S}-{asked.name}"))
    job = TrainJob(
        source,
        folder,
        config,
        params,
        split,
        BuildOptions(cache, workers, max_pixels),
        label_names=parse_label_names(labels) if labels else None,
        target=target,
        detector_model=detector_model,
        resume=resume,
        log=read_trackers(log, *(("tensorboard",) if tensorboard else ())),
        abstain=abstain,
        facts={"recipe": recipe.to_dict() if recipe else None},
        export=export,
    )
    outcome = train_and_tell(job, asked, given_settings(ctx))
    show(f"Run {folder.path.name!r} is ready in {folder.path}")
    note_next(*next_after_training(job, runs))
    exit_with(outcome.errors)


@usual_options(
    run="--run --runs",
    data="--labels --abstain --group-regex",
    output="--output --json",
    machine="--device --runtime --workers --cache",
)
def evaluate(
    source: Data,
    run: RunName = None,
    labels: LabelNames = None,
    group_regex: GroupRegex = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="Answers this near to the threshold are unsure; unset: the run's own.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for its files; unset: the run's own."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print every number, of every class and slice.")
    ] = False,
    as_json: Json = False,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    detector_model: DetectorModelPath = None,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Score the test part and print what the numbers say.

    Example: roi-cls evaluate photos --run first --full
    """
    folder = choose_run(run, runs)  # before torch is loaded for seconds
    check_data(source)
    from roi_cls.cache.options import BuildOptions
    from roi_cls.classifier.evaluation.run import EvaluateJob
    from roi_cls.commands.train.run import evaluate_and_tell
    from roi_cls.data.sample import parse_label_names

    options = BuildOptions(cache, workers, max_pixels)
    names = parse_label_names(labels) if labels else None
    job = EvaluateJob(
        source,
        folder,
        options,
        device,
        detector_model,
        names,
        abstain,
        output=output,
        group_regex=group_regex,
        runtime=runtime,
    )
    outcome = evaluate_and_tell(job, runs, as_json=as_json, full=full)
    exit_with(len(outcome.errors))


def verify(
    word: RunWord = None,
    run: RunName = None,
    source: Annotated[
        Path | None, typer.Option("--data", help="Where the data set lies now, if it moved.")
    ] = None,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    detector_model: DetectorModelPath = None,
) -> None:
    """Prove that a run predicts as it was trained, from the raw files.

    Example: roi-cls verify --run first
    """
    folder = choose_run(run, runs, word)  # before torch is loaded for seconds
    from roi_cls.classifier.inference.verify import verify_run

    result = verify_run(
        folder, source=source, device=device, runtime=runtime, detector_model=detector_model
    )
    note(f"Computed with {result.engine}.")
    show(
        f"Run {folder.path.name!r} predicts as it was trained: {result.images} validation "
        f"pictures, max |Δp| = {result.largest_difference:.1e}"
    )
