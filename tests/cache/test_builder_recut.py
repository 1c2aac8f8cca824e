"""A row alone, read back from a file, gives the very crops that the run stored, bit for bit."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.base.errors import CacheError, ImageReadError
from roi_cls.cache.builder import CropBuilder, recut
from roi_cls.cache.manifest import open_manifest
from roi_cls.cache.record import CropRecord
from roi_cls.cache.store import CropStore
from roi_cls.roi import CropParams, Face
from roi_cls.roi.picture import Picture
from tests.helpers.colours import PROFILES
from tests.helpers.fakes import FakeDetector, see_at
from tests.helpers.pictures import encode, exif, noise

OpenBuilder = Callable[..., AbstractContextManager[CropBuilder]]
RECIPES: dict[str, dict[str, object]] = {
    "face": {},
    "aligned": {"align": True},
    "wide": {"margin": 2.0},
    "grey border": {"margin": 2.0, "border": "constant"},
    "shifted": {"margin": 0.8, "border": "shift"},
    "aligned, shifted": {"margin": 0.8, "border": "shift", "align": True},
    "every face": {"face": "all"},
    "every face aligned": {"face": "all", "align": True, "margin": 1.0},
    "lanczos": {"resampling": "lanczos", "size_px": 24},
    "enlarged": {"size_px": 64},
    "stored colours": {"color": "stored"},
    "whole, padded": {"crop": "full"},
    "whole, cropped": {"crop": "full", "full_frame": "crop"},
    "whole, squashed": {"crop": "full", "full_frame": "squash"},
    "fallback": {"min_score": 0.95},
    "fallback to the centre": {"min_score": 0.95, "fallback": "center"},
}


@pytest.fixture(params=[".png", ".jpg"])
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Smooth noise, 61 px high and 93 px wide; as JPEG it may be decoded at a reduced scale."""
    path = tmp_path / f"a{request.param}"
    noise = np.random.default_rng(0).integers(1, 256, (7, 9, 3)).astype(np.uint8)
    pixels = cv2.resize(noise, (93, 61), interpolation=cv2.INTER_CUBIC)
    PillowImage.fromarray(pixels).save(path, icc_profile=PROFILES["Display P3"])
    return path


@pytest.fixture
def record(drawn: Path, open_builder: OpenBuilder) -> Iterator[CropRecord]:
    """An ok row."""
    with open_builder() as builder:
        yield builder.build(drawn).record


@pytest.mark.parametrize("recipe", RECIPES)
def test_row_from_a_manifest_gives_the_stored_crop_bit_for_bit(
    drawn: Path, open_builder: OpenBuilder, tmp_path: Path, recipe: str
) -> None:
    with open_builder(**RECIPES[recipe]) as builder:
        record = builder.build(drawn).record
        stored = builder.load(record)
    with open_manifest(tmp_path / "rows.jsonl") as add:
        add(record)
    values = json.loads((tmp_path / "rows.jsonl").read_text())
    read = CropRecord.from_dict(Path(values["path"]), values)
    assert read == record
    again = recut(read)
    assert np.array_equal(again, stored)
    assert again.shape[0] == (2 if "every" in recipe else 1)
    assert again.dtype == np.uint8


def test_row_tells_what_was_made_of_the_colours_also_where_nothing_is_done(
    drawn: Path, open_builder: OpenBuilder
) -> None:
    crops = {}
    for color, note in (("srgb", "Display P3"), ("stored", "ignored: Display P3")):
        for _ in range(2):
            with open_builder(color=color) as builder:
                row = builder.build(drawn).record
                crops[color] = builder.load(row)
            assert (row.color, row.color_profile) == (color, note)
    assert np.abs(crops["srgb"].astype(int) - crops["stored"]).mean() > 1


def test_changed_picture_is_told(record: CropRecord) -> None:
    with record.path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CacheError) as caught:
        recut(record)
    assert str(caught.value) == (
        f"Cannot make the crop of {str(record.path)!r} again: the file has changed meanwhile. "
        "Run the command once more."
    )


def test_lost_picture_is_told(record: CropRecord) -> None:
    record.path.unlink()
    with pytest.raises(ImageReadError, match="no such file"):
        recut(record)


def test_larger_picture_than_allowed_is_refused(record: CropRecord) -> None:
    with pytest.raises(ImageReadError, match="over the limit of 100"):
        recut(record, max_pixels=100)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"status": "error", "error": "it is empty"}, "it is empty"),
        ({"status": "skipped", "reason": "no_face", "region": None}, "no_face"),
    ],
)
def test_row_without_a_crop_is_misuse(
    record: CropRecord, changes: dict[str, str], why: str
) -> None:
    row = replace(record, **changes)  # type: ignore[arg-type]  # texts for texts
    with pytest.raises(ValueError, match=f"there is no crop of .*: {why}$"):
        recut(row)


def test_row_follows_the_picture_to_another_place(record: CropRecord, tmp_path: Path) -> None:
    before = recut(record)
    moved = record.path.rename(tmp_path / "moved.bin")
    assert hashlib.sha256(moved.read_bytes()).hexdigest() == record.sha256
    assert np.array_equal(recut(replace(record, path=moved)), before)


KEEP_FOLDER = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def see_two(picture: Picture) -> tuple[Face, ...]:
    """See two tilted faces at odd places."""
    sure = see_at(0.31, 0.42, 0.5, tilt=0.1, narrow=0.9)(picture)
    return sure + see_at(0.77, 0.63, 0.33, tilt=-0.2, narrow=0.9)(picture)


ANY_RECIPE = st.builds(
    CropParams,
    crop=st.sampled_from(["face", "face", "full"]),
    face=st.sampled_from(["largest", "central", "all"]),
    margin=st.sampled_from([0.0, 0.3, 1.1]),
    align=st.booleans(),
    size_px=st.sampled_from([8, 21, 64]),
    min_face_px=st.just(0),
    min_score=st.sampled_from([0.5, 0.99]),
    fallback=st.sampled_from(["full", "center"]),
    full_frame=st.sampled_from(["pad", "crop", "squash"]),
    border=st.sampled_from(["replicate", "constant", "shift"]),
    resampling=st.sampled_from(["area", "lanczos"]),
)


@KEEP_FOLDER
@given(
    st.tuples(st.integers(20, 300), st.integers(20, 300)),
    st.sampled_from(["PNG", "JPEG"]),
    st.integers(1, 8),
    ANY_RECIPE,
)
def test_crop_cut_again_from_its_row_is_the_stored_one(
    tmp_path: Path, size: tuple[int, int], kind: str, orientation: int, params: CropParams
) -> None:
    path = tmp_path / "a"
    coarse = PillowImage.fromarray(noise(7, 9, 3, seed=size[0] * size[1]))
    path.write_bytes(encode(coarse.resize(size), kind, exif=exif(orientation)))
    store = CropStore(tmp_path / "cache", params)
    with CropBuilder(store, params, partial(FakeDetector, see_two)) as builder:
        row = builder.build(path).record
    assert row.sha256
    stored = store.read_crop(row.sha256)
    assert stored is not None
    again = CropRecord.from_dict(path, json.loads(json.dumps(row.to_dict())))
    assert np.array_equal(recut(again), stored)
    assert len(stored) == (2 if params.face == "all" and row.source == "face" else 1)
