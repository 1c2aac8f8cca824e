"""The command that serves a model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from roi_cls.commands.serve.options import ServerOptions, parse_origin
from roi_cls.console.arguments import (
    RUNS,
    DetectorModelPath,
    DeviceName,
    MaxPixels,
    ModelFile,
    RunNames,
    Runs,
    RuntimeName,
    RunWords,
    choose_models,
)
from roi_cls.console.help import usual_options
from roi_cls.console.words import parse_bytes, parse_span
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import FaceChoice

_DEFAULTS = ServerOptions()
Number = TypeVar("Number", int, float)


def _parse_origin(text: str) -> str:
    try:
        return parse_origin(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@usual_options(
    model="--run --runs --model",
    server="--host --port --allow-host --allow-origin --max-bytes --timeout",
    answer="--threshold --abstain --face",
    kept="--review --keep",
    machine="--device --runtime --batch --threads",
)
def serve(
    words: RunWords = None,
    run: RunNames = None,
    model: ModelFile = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0: one that is free.")
    ] = 8000,
    batch_size: Annotated[
        int, typer.Option("--batch", min=1, help="Pictures scored at once.")
    ] = _DEFAULTS.batch_size,
    wait_ms: Annotated[
        float, typer.Option(min=0, help="For how many ms a batch waits to be filled.")
    ] = _DEFAULTS.wait_ms,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads that decode, detect and score; unset: one per core, up to 4."
        ),
    ] = None,
    max_bytes: Annotated[
        str,
        typer.Option(metavar="<size>", help="Size of a request, like 32MB; larger ones: refused."),
    ] = f"{_DEFAULTS.max_bytes // 10**6}MB",
    max_pixels: MaxPixels = MAX_PIXELS,
    max_pictures: Annotated[
        int, typer.Option(min=1, help="Pictures in one request; more: refused.")
    ] = _DEFAULTS.max_pictures,
    queue: Annotated[
        int, typer.Option(min=1, help="Pictures that may wait; beyond: come again (503).")
    ] = _DEFAULTS.queue,
    timeout: Annotated[
        str, typer.Option(metavar="<time>", help="Time for a request to come, and to be answered.")
    ] = f"{_DEFAULTS.timeout_s:g}s",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name that the server is called by, beside localhost."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            parser=_parse_origin,
            metavar="<url>",
            help="Web pages elsewhere that may use the server, like https://faces.example; *: all.",
        ),
    ] = None,
    review: Annotated[
        Path, typer.Option(help="CSV that gets corrected verdicts.")
    ] = _DEFAULTS.review,
    keep: Annotated[
        Path | None, typer.Option(help="Folder to keep pictures in; unset: none is kept.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Probability of the target from which it is the answer; unset: the model's.",
        ),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="Answers this near to the threshold are unsure; unset: the model's.",
        ),
    ] = None,
    face: Annotated[
        FaceChoice | None, typer.Option(help="Which face to look at; unset: as in training.")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Compute in half precision: faster, less exact.")
    ] = False,
    runs: Runs = RUNS,
    device: DeviceName = "auto",
    runtime: RuntimeName = "auto",
    detector_model: DetectorModelPath = None,
) -> None:
    """Answer requests over HTTP, and show a page that judges pictures in the browser.

    Example: roi-cls serve --run first --port 8000
    """
    from roi_cls.classifier.inference.prediction import PredictOptions
    from roi_cls.commands.serve.run import ServeJob, serve_until_stopped

    server = ServerOptions(
        batch_size=batch_size,
        wait_ms=wait_ms,
        max_bytes=_above_zero(parse_bytes(max_bytes), "--max-bytes"),
        max_pictures=max_pictures,
        queue=queue,
        timeout_s=_above_zero(parse_span(timeout), "--timeout"),
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        review=review,
        keep=keep,
    )
    options = PredictOptions(
        batch_size=batch_size,
        max_pixels=max_pixels,
        face=face,
        threshold=threshold,
        abstain=abstain,
        detector_model=detector_model,
    )
    models = choose_models([*(words or ()), *(run or ())], model, runs)
    serve_until_stopped(
        ServeJob(models, options, server, host, port, threads, device, half, runtime)
    )


def _above_zero(value: Number, option: str) -> Number:
    if value <= 0:
        raise typer.BadParameter(f"{option} must be above 0")
    return value
