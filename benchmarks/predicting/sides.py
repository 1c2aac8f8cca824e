"""The sides that score many pictures, and the run they use."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.machine import keep_freed_memory
from roi_cls.base.pool import WorkerPool
from roi_cls.classifier.config import BATCH_SIZE, Runtime
from roi_cls.classifier.export.own import export_network
from roi_cls.classifier.inference.cropping import Refusal, SourceCropper
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.inference.scorer import open_scorer
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.saved import load_model, save_bundle
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation, load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams
from roi_cls.roi.image import read_image
from roi_cls.roi.recipe import open_recipe

Work = Callable[[Path], float]
"""Does its stage for a picture; returns the seconds."""


def make_run(
    folder: Path, model: str, crop: CropParams | None = None, network: nn.Module | None = None
) -> Path:
    """Write a finished run of this model, and return its folder.

    Args:
        folder: Where to; it is not there yet.
        model: Of timm.
        crop: The recipe; None: the default one, which looks for faces.
        network: The model; None: with random weights.
    """
    recipe = open_recipe(crop or CropParams())
    params = recipe.params
    torch.manual_seed(0)
    network = network or create_model(model, "none", 2, params.size_px)
    folder.mkdir(parents=True)
    bundle = ModelBundle(
        model=model,
        views=(params,),
        labels=LabelSet(("artefact", "artefactless"), "artefact"),
        normalisation=Normalisation(*normalisation(network)),
        temperature=1.0,
        offsets=(0.0, 0.0),
        threshold=0.5,
        data_digest="none",
    )
    save_bundle(folder, network, bundle)
    for file in recipe.models:
        (folder / "detector").mkdir(exist_ok=True)
        shutil.copy(file.path, folder / "detector" / file.stored_name)
    return folder


def export(run: Path, paths: list[Path]) -> None:
    """Write the run's own ONNX file, as training does, proven on these pictures.

    Raises:
        RuntimeError: There is none, and torch would be measured in its place.
    """
    loaded = load_any(run, choose_backend("cpu", "fp32"))
    notes: list[str] = []
    crops = [_crop(loaded.views[0], paths)]
    network, scores = load_model(run, loaded.bundle), loaded.probabilities(crops)
    export_network(RunFolder(run), network, loaded.bundle, crops, scores, notes.append)
    if not RunFolder(run).onnx.exists():
        raise RuntimeError(f"{run} has no ONNX file: {' '.join(notes)}")


def stage_sides(run: Path, paths: list[Path], cores: int) -> dict[str, Callable[[], float]]:
    """Return what gives pictures per second: of each stage alone, and of prediction.

    ``share``: one process and one thread for each; ``whole``: as many as there are cores; ``here``:
    prediction without other processes; ``torch``: as ``whole``, without the run's ONNX file.
    """
    params = load_bundle(run).views[0]
    crops = _crop(params, paths[: 4 * BATCH_SIZE])
    more = [*paths, *paths]

    def model(threads: int) -> float:
        with limit_threads(threads):
            scorer = open_scorer([run], "cpu").scorer
            batches = (crops[i : i + BATCH_SIZE] for i in range(0, len(crops), BATCH_SIZE))
            return _rate_of_batches(len(scorer.probabilities([batch])) for batch in batches)

    def predict(workers: int, threads: int, runtime: Runtime = "auto") -> float:
        options = PredictOptions(workers=workers)
        with (
            limit_threads(threads),
            open_predictor([run], "cpu", options=options, runtime=runtime) as predictor,
        ):
            return _rate(predictor.predict([Source(str(path)) for path in more]))

    sides: dict[str, Callable[[], float]] = {}
    for name, count in (("share", 1), ("whole", cores)):
        sides[f"decode_{name}"] = partial(_in_processes, _decoding, more, count)
        sides[f"detect_{name}"] = partial(
            _in_processes, partial(_detecting, params, paths), more, count
        )
        sides[f"model_{name}"] = partial(model, count)
        sides[f"predict_{name}"] = partial(predict, count, count)
    sides["predict_here"] = partial(predict, 0, cores)
    return {**sides, "predict_torch": partial(predict, cores, cores, "torch")}


def _rate(results: Iterable[object]) -> float:
    """Return results per second between the first two batches and the last two.

    A process takes 1 s to start; and as crops run ahead of the model by two batches, what is timed
    must begin and end with that lead, or it would hold fewer crops than answers.
    """
    times = [time.perf_counter() for _ in results]
    begin, end = 2 * BATCH_SIZE - 1, len(times) // BATCH_SIZE * BATCH_SIZE - 2 * BATCH_SIZE - 1
    return (end - begin) / (times[end] - times[begin])


def _rate_of_batches(counts: Iterator[int]) -> float:
    next(counts)  # prepares what the others reuse
    begin = time.perf_counter()
    return sum(counts) / (time.perf_counter() - begin)


def _in_processes(
    make_work: Callable[[], contextlib.AbstractContextManager[Work]], paths: list[Path], count: int
) -> float:
    """Return pictures per second of so many processes together, by what each spent in the stage."""
    pool = WorkerPool[Path, float](count, make_work, lambda path, code: 0.0)
    with contextlib.closing(pool):
        seconds = list(pool.map(paths))[2 * BATCH_SIZE :]
    return count * len(seconds) / sum(seconds)


@contextlib.contextmanager
def _decoding() -> Iterator[Work]:
    _settle_process()
    yield lambda path: _timed(partial(read_image, path))


@contextlib.contextmanager
def _detecting(params: CropParams, paths: list[Path]) -> Iterator[Work]:
    """Detect and cut in pictures that are decoded already."""
    _settle_process()
    images = {path: read_image(path) for path in paths}
    with SourceCropper((params,), None, ()) as cropper:
        yield lambda path: _timed(partial(cropper.crop, Source(str(path), image=images[path])))


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _settle_process() -> None:
    keep_freed_memory()
    cv2.setNumThreads(1)


def _crop(params: CropParams, paths: list[Path]) -> NDArray[np.uint8]:
    with SourceCropper((params,), None, ()) as cropper:
        found = [cropper.crop(Source(str(path))) for path in paths]
    return np.concatenate([views[0].pixels for views in found if not isinstance(views, Refusal)])


@contextlib.contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Let torch, and sessions of ONNX Runtime opened within, compute in so many threads."""
    before, told = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(count)
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        del os.environ["OMP_NUM_THREADS"]
        if told is not None:
            os.environ["OMP_NUM_THREADS"] = told
