"""Sources to crops: one picture read, decoded, looked through and cut, in whichever process.

Cropping goes ahead of the model, in a thread of this process or in processes of their own. Imports
no torch.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from roi_cls.base.background import take_ahead
from roi_cls.base.closing import Closing
from roi_cls.base.errors import ImageReadError, NoFaceError
from roi_cls.base.location import LocationError, as_path
from roi_cls.base.machine import available_cores
from roi_cls.base.pool import WorkerPool, in_worker
from roi_cls.cache.build import tell_death
from roi_cls.cache.options import WORTH_WORKERS
from roi_cls.classifier.inference.prediction import Source
from roi_cls.roi import CropParams, Detection, plan_crop
from roi_cls.roi.crop import Crops, FaceDetector, cut_crops, detect_faces
from roi_cls.roi.image import read_bytes
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import ColorChoice
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there are no crops of a picture."""

    error: str
    damaged: str | None = None
    """Why the picture is not whole, where that is the error."""


Cropped = tuple[Crops, ...] | Refusal
"""The crops of each view, or why there are none."""
Crop = Callable[[Source], Cropped]
CropOpener = Callable[[], AbstractContextManager[Crop]]
_Pool = WorkerPool[Source, Cropped]


class SourceCropper(Closing):
    """Crops what a model is asked about, one source at a time, by each of its recipes.

    Owns a face detector for each way to detect.
    """

    def __init__(
        self,
        views: Sequence[CropParams],
        given: Path | None,
        folders: Sequence[Path],
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Find the detectors' files; their networks are loaded when first needed.

        Args:
            views: The recipes.
            given: Where the detector's model files lie, if not in ``folders``.
            folders: Where to look for them first.
            max_pixels: Larger pictures are refused.

        Raises:
            DetectorModelError: A model file is not to be had.
        """
        self._views, self._max_pixels = tuple(views), max_pixels
        self._detectors: dict[str, FaceDetector] = {}
        for view in self._views:
            if view.crop == "face" and view.detector_digest not in self._detectors:
                detector = open_recipe(view, given, folders).open_detector()
                self._detectors[view.detector_digest] = detector
        self._lock = threading.Lock()  # a detector is not for several threads at once
        self._is_closed = False

    def crop(self, source: Source) -> Cropped:
        """Return the crops of each view; why there are none, where the picture is in error.

        Raises:
            DetectorModelError: A network cannot be loaded.
            ValueError: It was closed.
        """
        if source.error is not None:
            return Refusal(source.error)
        try:
            pictures = self._open(source)
            with self._lock:
                if self._is_closed:
                    raise ValueError("a SourceCropper that was closed cannot crop")
                return self._cut(pictures)
        except ImageReadError as error:
            return Refusal(str(error), error.damage)
        except (LocationError, NoFaceError) as error:
            return Refusal(str(error))

    def close(self) -> None:
        """Free the detectors, once the source at work is done."""
        with self._lock:
            self._is_closed = True
            for detector in self._detectors.values():
                detector.close()

    def _open(self, source: Source) -> dict[ColorChoice, Picture]:
        """Return the picture in the colours that each view takes: one, but for odd ensembles."""
        colors = {view.color for view in self._views}
        if source.image is not None:
            return dict.fromkeys(colors, Picture.of(source.image))
        data = read_bytes(as_path(source.path)) if source.data is None else source.data
        # One picture for all views: it is read in part only where each of them was made so.
        partial = all(view.damaged == "read" for view in self._views)
        return {
            color: Picture(
                data, source.path, max_pixels=self._max_pixels, color=color, partial=partial
            )
            for color in colors
        }

    def _cut(self, pictures: Mapping[ColorChoice, Picture]) -> tuple[Crops, ...]:
        """Return the crops of each view; views that detect alike look once."""
        seen: dict[str, Detection] = {}
        found = []
        for view in self._views:
            key, picture = view.detector_digest, pictures[view.color]
            if key not in seen:
                seen[key] = detect_faces(picture, view, self._detectors.get(key))
            plan = plan_crop(seen[key], view)
            found.append(Crops(cut_crops(picture, plan.cuts, view), plan, seen[key]))
        return tuple(found)


@contextlib.contextmanager
def open_cropping(
    views: Sequence[CropParams], given: Path | None, folders: Sequence[Path], max_pixels: int
) -> Iterator[Crop]:
    """Give ``SourceCropper.crop`` of these arguments, in whichever process enters this."""
    with SourceCropper(views, given, folders, max_pixels) as cropper:
        yield cropper.crop


def crop_ahead(
    sources: Iterable[Source],
    crop: Crop,
    opener: CropOpener,
    workers: int | None,
    ahead: int,
) -> Generator[tuple[Source, Cropped], None, None]:
    """Yield each source, without its pixels, and its crops, in order.

    Detection and all decoding but that of most PNGs let other threads run: one thread of this
    process overlaps with the model. Processes add to that where there are more cores than the model
    uses.

    Args:
        sources: Taken in that thread, as they are needed. Where the rest is not wanted, ``stop`` of
            theirs is called, if they have one: a ``next`` that waits for a server returns.
        crop: Crops in this process; used by that thread alone meanwhile.
        opener: Gives what crops in another process, to which it travels.
        workers: Processes; 0: none but this one; None: one per core, once there are more pictures
            than is worth it.
        ahead: How many are cropped, at most, beyond the one that is asked for.

    Raises:
        DetectorModelError: A network cannot be loaded.
    """
    let_go: Callable[[], None] = getattr(sources, "stop", _nothing)
    if workers == 0:
        yield from take_ahead(_crop_each(iter(sources), crop), ahead, let_go)
        return
    make_work = partial(in_worker, opener)
    pool = _Pool(available_cores() if workers is None else workers, make_work, _died)
    few = 0 if workers or operator.length_hint(sources) >= WORTH_WORKERS else WORTH_WORKERS

    def stop() -> None:
        let_go()
        pool.stop()

    with contextlib.closing(pool):
        yield from take_ahead(_crop_many(iter(sources), crop, few, pool), ahead, stop)


def _crop_each(sources: Iterable[Source], crop: Crop) -> Iterator[tuple[Source, Cropped]]:
    return ((_without_pixels(source), crop(source)) for source in sources)


def _crop_many(
    sources: Iterator[Source], crop: Crop, few: int, pool: _Pool
) -> Iterator[tuple[Source, Cropped]]:
    """Crop the first few here, as there may be no more, and the rest in the pool."""
    yield from _crop_each(itertools.islice(sources, few), crop)
    sent: deque[Source] = deque()

    def send() -> Iterator[Source]:
        for source in sources:
            sent.append(_without_pixels(source))
            yield source

    for cropped in pool.map(send()):
        yield sent.popleft(), cropped


def _without_pixels(source: Source) -> Source:
    """Return what is left to know of a source that is cropped."""
    return replace(source, data=None, image=None)


def _died(source: Source, exit_code: int | None) -> Refusal:
    return Refusal(tell_death(source.path, exit_code))


def _nothing() -> None:
    """Stop nothing: the picture at work is soon done."""
