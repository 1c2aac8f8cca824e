"""Whether a GPU answers what the CPU answers, and how fast pictures and requests are answered."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from benchmarks.gpu.rows import Book
from benchmarks.gpu.setting import Setting
from benchmarks.predicting.sides import make_run
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.classifier.inference.scorer import open_scorer
from roi_cls.classifier.models.device import choose_backend
from roi_cls.roi import CropParams

MOST_APART = 1e-4
"""Of probabilities on a GPU in fp32 from the CPU's."""
MOST_APART_IN_HALF = 1e-2
"""With ``--half``, as docs/how-to/machines/gpus.md says."""


def _write_run(setting: Setting, model: str, network: nn.Module | None = None) -> Path:
    """Return a finished run of the model that looks at whole pictures, so that no face is sought.

    network: the model; None: with random weights, which change no time.
    """
    kind = "random" if network is None else "trained"
    folder = setting.folder / "models" / f"{model}-{kind}"
    return make_run(folder, model, CropParams(crop="full", size_px=setting.size_px), network)


def compare_scores(setting: Setting, book: Book) -> None:
    """Tell how far probabilities of each model are apart between the CPU and the GPU."""
    for model in setting.models:
        with book.trying(f"{model}, scores"):
            _compare_scores(setting, model, book)


def _compare_scores(setting: Setting, model: str, book: Book) -> None:
    # A random network says the same of all crops, and would hide what a trained one shows.
    size = 4 if setting.is_tiny else 32
    options: dict[str, Any] = {"model": model, "batch_size": size, "lr": 5e-4}
    count = 16 if setting.is_tiny else 512
    network = setting.train(f"scores-{model}", count, precision=setting.fast, **options)
    folder = _write_run(setting, model, network)
    pixels = np.array(setting.crops(setting.scored).pixels)
    cpu = load_any(folder, choose_backend("cpu", "fp32")).probabilities([pixels])
    book.note(f"{model}: spread of the CPU's probabilities", float(np.ptp(cpu[:, 0])))
    what = f"{model}: probabilities on the GPU from the CPU's, at most apart by"
    if not setting.has_gpu:
        book.skip(what)
        return
    for name, backend, limit in (
        ("fp32", choose_backend(setting.kind, "fp32"), MOST_APART),
        ("--half", choose_backend(setting.kind, "auto"), MOST_APART_IN_HALF),
    ):
        gpu = load_any(folder, backend).probabilities([pixels])
        book.at_most(f"{what}, {name}", float(np.abs(gpu - cpu).max()), limit)


def measure_answers(setting: Setting, book: Book) -> None:
    """Tell pictures per second of the model alone, of ``predict``, and of a server's batches."""
    run = _write_run(setting, setting.models[0])
    for half in (False, True) if setting.has_gpu else (False,):
        with book.trying("the model alone"):
            _measure_model(setting, run, book, half=half)
    files = sorted(setting.pictures().rglob("*.jpg"))
    sources = [Source(str(files[i % len(files)])) for i in range(setting.asked)]
    with book.trying("predict"):
        _measure_predict(setting, run, sources, book)
    with book.trying("serve"):
        _measure_serve(setting, run, sources, book)


def _measure_model(setting: Setting, run: Path, book: Book, *, half: bool) -> None:
    scorer = open_scorer([run], setting.kind, half=half).scorer
    crops = setting.crops()
    pixels = np.array(crops.pixels[: min(len(crops), setting.asked)])
    for size in (32, setting.batch):
        score = partial(scorer.probabilities, [pixels], size)
        score()  # makes what the others reuse
        rate = len(pixels) / _seconds(score, 3)
        name = "--half" if half else "fp32"
        book.note(f"crops/s of the model alone, {name}, batches of {size}", rate)


def _measure_predict(setting: Setting, run: Path, sources: list[Source], book: Book) -> None:
    options = PredictOptions(workers=0 if setting.is_tiny else None)
    with open_predictor([run], setting.kind, options=options) as predictor:
        statuses, times = [], []
        for answer in predictor.predict(sources):
            statuses.append(answer.status)
            times.append(time.perf_counter())
    skipped = len(times) // 4  # while processes start
    rate = (len(times) - 1 - skipped) / (times[-1] - times[skipped])
    answered = statuses.count("ok")
    wanted = f"{len(sources)} ok"
    book.expect("predict: answers", f"{answered} ok", wanted, is_right=answered == len(sources))
    book.note("predict: pictures/s once it runs, no face search", rate)


@dataclass(slots=True)
class _Batches:
    sizes: list[int] = field(default_factory=list)

    def note(self, pictures: int, seconds: float) -> None:
        self.sizes.append(pictures)


def _measure_serve(setting: Setting, run: Path, sources: list[Source], book: Book) -> None:
    """Send pictures to the server's batcher, so many at once, without HTTP around it."""
    from roi_cls.commands.serve.batcher import Batcher
    from roi_cls.commands.serve.options import ServerOptions

    clients = 8 if setting.is_tiny else 64
    batches = _Batches()
    opened = open_scorer([run], setting.kind)
    with Predictor(opened) as first, Predictor(opened) as second:
        judges = [first.judge, second.judge]  # as many as `serve` starts on two cores
        for judge in judges:
            judge(sources[:2])

        async def ask() -> float:
            batcher = Batcher(judges, ServerOptions(), batches.note)
            batcher.start()
            waiting = iter(sources)

            async def client() -> None:
                for source in waiting:
                    await batcher.judge([source])

            begin = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(clients)))
            seconds = time.perf_counter() - begin
            await batcher.stop()
            return seconds

        rate = len(sources) / asyncio.run(ask())
    book.note(f"serve: pictures/s of its batches, {clients} at once", rate)
    book.note("serve: pictures of a batch, mean", statistics.mean(batches.sizes))


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time; what is returned to the CPU is done on the GPU."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
