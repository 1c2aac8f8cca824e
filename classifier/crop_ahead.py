"""Cropping ahead of the model: in a thread of this process, or in processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import partial

from roi_cls.base.background import take_ahead
from roi_cls.base.pool import WorkerPool
from roi_cls.cache.build import in_worker, tell_death
from roi_cls.cache.options import WORTH_WORKERS, available_cores
from roi_cls.classifier.prediction import Source
from roi_cls.classifier.source_cropper import Cropped, CropSettings, open_cropping

Crop = Callable[[Source], Cropped]
Pool = WorkerPool[Source, Cropped]


def crop_ahead(
    sources: Iterable[Source], crop: Crop, settings: CropSettings, workers: int | None, ahead: int
) -> Generator[tuple[Source, Cropped], None, None]:
    """Yield each source, without its pixels, and its crops, in order.

    Decoding and detection let other threads run: one thread of this process overlaps with the
    model. Processes add to that where there are more cores than the model uses.

    Args:
        sources: Taken in that thread, as they are needed. Where the rest is not wanted, ``stop`` of
            theirs is called, if they have one: a ``next`` that waits for a server returns.
        crop: Crops in this process; used by that thread alone meanwhile.
        settings: What other processes crop by.
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
    make_work = partial(in_worker, partial(open_cropping, settings))
    pool = Pool(available_cores() if workers is None else workers, make_work, _died)
    few = 0 if workers or operator.length_hint(sources) >= WORTH_WORKERS else WORTH_WORKERS

    def stop() -> None:
        let_go()
        pool.stop()

    with contextlib.closing(pool):
        yield from take_ahead(_crop_many(iter(sources), crop, few, pool), ahead, stop)


def _crop_each(sources: Iterable[Source], crop: Crop) -> Iterator[tuple[Source, Cropped]]:
    return ((_without_pixels(source), crop(source)) for source in sources)


def _crop_many(
    sources: Iterator[Source], crop: Crop, few: int, pool: Pool
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


def _died(source: Source, exit_code: int | None) -> str:
    return tell_death(source.path, exit_code)


def _nothing() -> None:
    """Stop nothing: the picture at work is soon done."""
