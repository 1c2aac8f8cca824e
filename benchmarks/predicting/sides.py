"""The sides that score many pictures, and the run they use."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from roi_cls.base.machine import keep_freed_memory
from roi_cls.base.pool import WorkerPool
from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.inference.cropping import Refusal, SourceCropper
from roi_cls.classifier.inference.loaded import load_any
from roi_cls.classifier.inference.prediction import PredictOptions, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.inference.scorer import open_scorer
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.saved import save_bundle
from roi_cls.classifier.models.timm_model import create_model, normalisation
from roi_cls.classifier.runs.bundle import ModelBundle, Normalisation
from roi_cls.data.sample import LabelSet
from roi_cls.roi import CropParams
from roi_cls.roi.image import read_image
from roi_cls.roi.recipe import open_recipe

Work = Callable[[Path], int]


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


def export(run: Path) -> Path | None:
    """Write the run's model as ONNX beside it; None: what that needs is not installed."""
    if find_spec("onnxruntime") is None or find_spec("onnxscript") is None:
        return None
    from roi_cls.classifier.export.onnx import make_graph, write_bytes

    loaded = load_any(run, choose_backend("cpu", "fp32"))
    path = run.parent / "model.onnx"
    path.write_bytes(write_bytes(make_graph(loaded), loaded, run / "detector"))
    return path


def stage_sides(run: Path, paths: list[Path], cores: int) -> dict[str, Callable[[], float]]:
    """Return what gives pictures per second: of each stage alone, and of prediction.

    ``share``: one process and one thread for each; ``whole``: as many as there are cores; ``here``:
    prediction without other processes.
    """
    opened = open_scorer([run], "cpu")
    params = opened.scorer.views[0]
    crops = _crop(params, paths[: 4 * BATCH_SIZE])

    def model(threads: int) -> float:
        with _torch_threads(threads):
            batches = (crops[i : i + BATCH_SIZE] for i in range(0, len(crops), BATCH_SIZE))
            scored = (len(opened.scorer.probabilities([batch])) for batch in batches)
            return _rate_of_batches(scored)

    def predict(workers: int, threads: int) -> float:
        options = PredictOptions(workers=workers)
        with _torch_threads(threads), open_predictor([run], "cpu", options=options) as predictor:
            return _rate(predictor.predict([Source(str(path)) for path in paths]))

    sides: dict[str, Callable[[], float]] = {}
    for name, count in (("share", 1), ("whole", cores)):
        sides[f"decode_{name}"] = partial(_in_processes, _decoding, paths, count)
        sides[f"detect_{name}"] = partial(
            _in_processes, partial(_detecting, params, paths[:24]), paths, count
        )
        sides[f"model_{name}"] = partial(model, count)
        sides[f"predict_{name}"] = partial(predict, count, count)
    return {**sides, "predict_here": partial(predict, 0, cores)}


def _rate(results: Iterable[object]) -> float:
    """Return results per second, after the first two batches: a process takes 1 s to start."""
    begin = end = time.perf_counter()
    done, skipped = 0, 2 * BATCH_SIZE
    for _ in results:
        done += 1
        end = time.perf_counter()
        if done == skipped:
            begin = end
    return (done - skipped) / (end - begin)


def _rate_of_batches(counts: Iterator[int]) -> float:
    next(counts)  # prepares what the others reuse
    begin = time.perf_counter()
    return sum(counts) / (time.perf_counter() - begin)


def _in_processes(
    make_work: Callable[[], contextlib.AbstractContextManager[Work]], paths: list[Path], count: int
) -> float:
    pool = WorkerPool[Path, int](count, make_work, lambda path, code: 0)
    with contextlib.closing(pool):
        return _rate(pool.map(paths))


@contextlib.contextmanager
def _decoding() -> Iterator[Work]:
    _settle_process()
    yield lambda path: len(read_image(path))


@contextlib.contextmanager
def _detecting(params: CropParams, paths: list[Path]) -> Iterator[Work]:
    """Detect and cut in pictures that are decoded already."""
    _settle_process()
    images = [read_image(path) for path in paths]
    place = {path: i for i, path in enumerate(paths)}
    with SourceCropper((params,), None, ()) as cropper:

        def work(path: Path) -> int:
            image = images[place.get(path, hash(path) % len(images))]
            cropped = cropper.crop(Source(str(path), image=image))
            return 0 if isinstance(cropped, Refusal) else len(cropped)

        yield work


def _settle_process() -> None:
    keep_freed_memory()
    cv2.setNumThreads(1)


def _crop(params: CropParams, paths: list[Path]) -> NDArray[np.uint8]:
    with SourceCropper((params,), None, ()) as cropper:
        found = [cropper.crop(Source(str(path))) for path in paths]
    return np.concatenate([views[0].pixels for views in found if not isinstance(views, Refusal)])


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
