"""Cropping ahead, here and in processes: the order is kept, and a dead worker costs one row."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roi_cls.classifier.inference.cropping import Crop, Refusal, SourceCropper, crop_ahead
from roi_cls.classifier.inference.prediction import Source
from roi_cls.roi import CropParams
from tests.helpers.pictures import encode, noise


def _tell_process(source: Source) -> Refusal:
    if source.path == "deadly":
        os._exit(7)
    return Refusal(f"{source.path} {os.getpid()}")


@contextlib.contextmanager
def _telling() -> Iterator[Crop]:
    """Let workers tell in which process they are, and die of what is deadly."""
    yield _tell_process


def _sources(count: int) -> list[Source]:
    return [Source(f"{i}") for i in range(count)]


def _run(
    sources: list[Source] | Iterator[Source], workers: int | None, ahead: int = 4
) -> tuple[list[str], list[bool]]:
    """Return the names in order, and whether each was cropped in this process."""
    names, here = [], []
    for source, cropped in crop_ahead(sources, _tell_process, _telling, workers, ahead):
        assert isinstance(cropped, Refusal)
        name, process = cropped.error.split()
        assert source.path == name
        names.append(name)
        here.append(int(process) == os.getpid())
    return names, here


@pytest.mark.parametrize(
    ("count", "workers", "at_home"),
    [(0, 2, 0), (0, None, 0), (30, 0, 30), (30, 1, 0), (30, None, 30), (70, None, 0)],
)
def test_processes_are_used_where_they_are_worth_it(
    count: int, workers: int | None, at_home: int
) -> None:
    names, here = _run(_sources(count), workers)
    assert names == [f"{i}" for i in range(count)]
    assert here == [True] * at_home + [False] * (count - at_home)


def test_sources_without_a_known_number_are_few_until_they_are_many() -> None:
    names, here = _run((source for source in _sources(70)), None)
    assert names == [f"{i}" for i in range(70)]
    assert here == [True] * 64 + [False] * 6


def test_picture_that_kills_its_worker_is_one_row() -> None:
    sources = [*_sources(3), Source("deadly"), Source("last")]
    rows = list(crop_ahead(sources, _tell_process, _telling, 1, 4))
    assert [source.path for source, _ in rows] == ["0", "1", "2", "deadly", "last"]
    assert rows[3][1] == Refusal(
        "Cannot crop 'deadly': the process that decoded it died (exit code 7). "
        "The picture may be made to crash decoders; remove it or convert it to PNG."
    )
    last = rows[4][1]
    assert isinstance(last, Refusal)
    assert last.error.startswith("last ")


def test_sources_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[Source]:
        nonlocal taken
        while True:
            taken += 1
            yield Source(f"{taken}", data=bytes(100))

    rows = crop_ahead(endless(), lambda source: Refusal(source.path), _telling, 0, 5)
    for answered in range(1, 200):
        source, _ = next(rows)
        assert source.data is None  # not kept for the whole run
        assert taken <= answered + 6
    rows.close()


def test_leaving_early_leaves_no_process() -> None:
    rows = crop_ahead(_sources(10_000), _tell_process, _telling, 2, 4)
    _, cropped = next(rows)
    assert isinstance(cropped, Refusal)
    process = int(cropped.error.split()[1])
    rows.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_cropper_tells_what_is_wrong_and_crops_arrays(tmp_path: Path) -> None:
    image = np.full((20, 30, 3), 7, np.uint8)
    with SourceCropper([CropParams(crop="full", size_px=16)], None, ()) as cropper:
        assert cropper.crop(Source("x", error="no such host")) == Refusal("no such host")
        assert "no such file" in str(cropper.crop(Source(str(tmp_path / "x.png"))))
        views = cropper.crop(Source("frame", image=image))
    assert not isinstance(views, Refusal)
    assert views[0].pixels.shape == (1, 16, 16, 3)
    with pytest.raises(ValueError, match="was closed"):
        cropper.crop(Source("frame", image=image))


def test_damaged_picture_is_read_in_part_where_every_recipe_says_so() -> None:
    cut = Source("a.png", data=(data := encode(noise(20, 30, 3)))[: len(data) // 2])
    strict = CropParams(crop="full", size_px=16)
    lenient = replace(strict, damaged="read")
    reason = f"it is cut off after {len(data) // 2} bytes"
    for views in ([strict], [strict, lenient]):
        with SourceCropper(views, None, ()) as cropper:
            refusal = cropper.crop(cut)
        assert isinstance(refusal, Refusal)
        assert refusal.damaged == reason
    with SourceCropper([lenient], None, ()) as cropper:
        crops = cropper.crop(cut)
    assert not isinstance(crops, Refusal)
    assert crops[0].detection.damaged == reason
