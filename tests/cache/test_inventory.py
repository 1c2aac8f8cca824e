"""What a cache holds is counted truly, and what is damaged in it is found, named and removed."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.base.closing import Closing
from roi_cls.base.errors import CacheError
from roi_cls.base.location import as_path
from roi_cls.cache.build import build_crops
from roi_cls.cache.lease import share
from roi_cls.cache.options import BuildOptions, Shard
from roi_cls.cache.record import CropResult
from roi_cls.cache.upkeep import Part, find_damaged, list_parts, measure_index
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.picture import Picture

PARAMS = CropParams(size_px=16, min_face_px=4)
WIDE = CropParams(size_px=16, min_face_px=4, margin=0.7)
FULL = CropParams(crop="full", size_px=16)
LONG_AGO = 1_600_000_000  # seconds since 1970
BMP_BYTES = 54 + 16 * 16 * 3 + 73  # header, pixels, checksum: 895

Crop = Callable[..., list[CropResult]]


class OneFace(Closing):
    """Sees one face in every picture."""

    def detect(self, picture: Picture) -> Detection:
        """Return it."""
        face = Face(Box(5, 5, 25, 25), 0.9, ((10.0, 12.0),) * 6, "short")
        return Detection(picture.height, picture.width, (face,), "short")

    def close(self) -> None:
        """Free nothing."""


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three pictures of noise, long unchanged."""
    random = np.random.default_rng(0)
    found = [tmp_path / f"{i}.png" for i in range(3)]
    for path in found:
        cv2.imwrite(str(path), random.integers(1, 256, (30, 40, 3)).astype(np.uint8))
        os.utime(path, (LONG_AGO, LONG_AGO))
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def crop(paths: list[Path], cache: Path) -> Crop:
    """Crop the pictures by a recipe."""

    def crop(params: CropParams = PARAMS, **options: object) -> list[CropResult]:
        chosen = BuildOptions(cache, 0, **options)  # type: ignore[arg-type]  # a test's own
        return list(build_crops(paths, params, OneFace, chosen))

    return crop


def entries(cache: Path, kind: str) -> list[Path]:
    return sorted(cache.glob(f"v2/{kind}/*/??/*"))


def shape(parts: list[Part]) -> list[tuple[str, str, int]]:
    return [(part.kind, part.name, part.entries) for part in parts]


def test_parts_are_listed_by_recipe_with_sizes_and_ages(crop: Crop, cache: Path) -> None:
    started = time.time() - 1
    for params in (PARAMS, WIDE, FULL):
        crop(params)
    parts = list_parts(cache)
    by_name = sorted((PARAMS, WIDE, FULL), key=lambda params: params.digest)
    detections = sorted({PARAMS.detector_digest[:16], FULL.detector_digest[:16]})
    assert shape(parts) == [
        *(("crops", params.digest[:16], 3) for params in by_name),
        *(("detections", name, 3) for name in detections),
    ]
    assert [part.recipe for part in parts] == [*by_name, None, None]
    assert [part.bytes for part in parts[:3]] == [3 * BMP_BYTES] * 3
    for part in parts:
        files = [path for path in part.folder.glob("??/*") if path.is_file()]
        assert part.bytes == sum(path.stat().st_size for path in files)
        assert part.oldest == min(path.stat().st_mtime for path in files)
        assert started < part.oldest <= part.last_used <= time.time()
        assert json.loads(json.dumps(part.to_dict()))["name"] == part.name


def test_use_is_noted_though_nothing_is_written(crop: Crop, cache: Path) -> None:
    crop()
    for path in cache.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert {part.last_used for part in list_parts(cache)} == {LONG_AGO}
    started = time.time() - 1
    crop()
    crops, detections = list_parts(cache)
    assert (crops.oldest, detections.oldest) == (LONG_AGO, LONG_AGO)
    assert crops.last_used == detections.last_used > started  # a recipe's use is that of both


@pytest.mark.parametrize(
    "foreign",
    [
        "v2/crops/.DS_Store",
        "v2/crops/notes/aa/x.bmp",
        "v2/crops/{crops}/aa/Thumbs.db",
        "v2/locks/0123456789abcdef.lock",
        "v2/drafts/.tmp-x",
        "notes.txt",
        "vacation/a.png",
    ],
)
def test_what_is_not_ours_is_neither_counted_nor_damaged(
    crop: Crop, cache: Path, foreign: str
) -> None:
    crop()
    before = shape(list_parts(cache))
    path = cache / foreign.format(crops=PARAMS.digest[:16])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not ours")
    with share(cache / "v2", [PARAMS.digest]):
        assert shape(list_parts(cache)) == before
        assert list(find_damaged(cache)) == []
    assert path.read_text() == "not ours"


def test_older_forms_are_listed_by_their_files(crop: Crop, cache: Path) -> None:
    crop()
    (cache / "v1" / "crops" / "ab").mkdir(parents=True)
    (cache / "v1" / "crops" / "ab" / "x.npy").write_bytes(bytes(100))
    (cache / "v1" / "index.sqlite").write_bytes(bytes(50))
    old = list_parts(cache)[-1]
    assert (old.kind, old.name, old.entries, old.bytes, old.recipe) == ("old", "v1", 2, 150, None)
    assert list(find_damaged(cache)) == []


def test_older_form_alone_is_a_cache(cache: Path) -> None:
    (cache / "v1").mkdir(parents=True)
    assert shape(list_parts(cache)) == [("old", "v1", 0)]
    assert list_parts(cache)[0].oldest is None
    assert list(find_damaged(cache)) == []
    assert os.listdir(cache) == ["v1"]


@pytest.mark.parametrize("is_there", [False, True])
def test_folder_without_a_cache_is_told(cache: Path, is_there: bool) -> None:
    if is_there:
        cache.mkdir()
    for use in (list_parts, lambda cache: list(find_damaged(cache))):
        with pytest.raises(CacheError) as caught:
            use(cache)
        assert str(caught.value) == (
            f"Cannot find a crop cache in {str(cache)!r}: there is no folder 'v2' in it. Name the "
            "cache with --cache DIR, or make one: roi-cls crops PATH --cache DIR"
        )
    assert cache.exists() == is_there


def test_folder_that_cannot_be_read_is_told(
    crop: Crop, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop()

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CacheError) as caught:
        list_parts(cache)
    assert str(caught.value) == (
        f"Cannot read the cache folder {str(cache / 'v2' / 'crops')!r}: Permission denied. Check "
        "its permissions or choose another folder with --cache DIR."
    )


@pytest.mark.parametrize("kind", ["crops", "detections"])
@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text"])
def test_damaged_entries_are_named_removed_and_made_again(
    crop: Crop, cache: Path, kind: str, damage: str
) -> None:
    crop()
    whole = {path: path.read_bytes() for path in entries(cache, "*")}
    path = entries(cache, kind)[1]
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[60] ^= 1
    path.write_bytes(
        {"bit": bytes(flipped), "cut": data[:-1], "empty": b"", "text": b"hello"}[damage]
    )
    seen: list[int] = []
    assert list(find_damaged(cache, seen.append)) == [path]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert not path.exists()
    assert list(find_damaged(cache)) == []
    results = crop()
    # A lost detection is not missed as long as its crop is there and the file is unchanged.
    assert sum(result.cropped for result in results) == (kind == "crops")
    assert sum(result.detected for result in results) == 0
    if kind == "crops":
        assert {path: path.read_bytes() for path in entries(cache, "*")} == whole


@pytest.mark.parametrize(
    ("text", "is_damaged"),
    [
        ("{", True),
        ("[]", True),
        ("", True),
        ("\xff", True),
        ('{"version": 2}', True),
        ("{other}", True),
        ('{"version": 1, "margin": 0.3}', False),
        ('{"version": 9}', False),
    ],
)
def test_unreadable_recipe_is_none_and_a_damaged_one_is_removed(
    crop: Crop, cache: Path, text: str, is_damaged: bool
) -> None:
    crop()
    path = cache / "v2" / "crops" / PARAMS.digest[:16] / "recipe.json"
    whole = path.read_bytes()
    other = json.dumps(WIDE.to_dict())  # sound, but of another folder
    path.write_bytes((other if text == "{other}" else text).encode("latin-1"))
    part = list_parts(cache)[0]
    assert (part.recipe, part.entries, part.to_dict()["recipe"]) == (None, 3, None)
    assert list(find_damaged(cache)) == ([path] if is_damaged else [])
    assert path.exists() is not is_damaged
    if is_damaged:
        entries(cache, "crops")[0].unlink()
        crop()
        assert path.read_bytes() == whole


@pytest.mark.parametrize("shard", [None, Shard(1, 1)], ids=str)
def test_damaged_index_is_named_removed_and_made_again(
    crop: Crop, cache: Path, shard: Shard | None
) -> None:
    crop(shard=shard)
    (path,) = (cache / "v2").glob("index*.sqlite")
    assert measure_index(cache) >= path.stat().st_size > 0
    path.write_bytes(b"no database, but long enough to be looked at as one" * 100)
    assert list(find_damaged(cache)) == [path]
    assert list((cache / "v2").glob("index*")) == []
    assert measure_index(cache) == 0
    results = crop(shard=shard)
    assert not any(result.cropped or result.detected for result in results)  # entries are there
    assert path.exists()


def test_index_that_a_run_has_open_is_sound(crop: Crop, cache: Path) -> None:
    crop()
    path = cache / "v2" / "index.sqlite"
    database = sqlite3.connect(path)
    database.execute("BEGIN IMMEDIATE")
    assert list(find_damaged(cache)) == []
    database.close()
    assert path.exists()


def test_entry_removed_meanwhile_is_no_damage(
    crop: Crop, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop()
    paths = entries(cache, "crops")

    def prune_rest(done: int) -> None:
        if done == 1:
            for path in paths[1:]:
                path.unlink()

    assert list(find_damaged(cache, prune_rest)) == []


def test_damage_that_cannot_be_removed_is_told(
    crop: Crop, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop()
    path = entries(cache, "crops")[0]
    path.write_bytes(b"damaged")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(CacheError) as caught:
        list(find_damaged(cache))
    assert str(caught.value) == (
        f"Cannot remove {str(path)!r}: Permission denied. Check the permissions of the cache's "
        "folders, or let their owner run this."
    )


def test_index_in_a_folder_that_cannot_be_written_is_left_alone(
    crop: Crop, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop()
    (cache / "v2" / "index.sqlite").write_bytes(b"damaged")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert list(find_damaged(cache)) == []


def test_remote_cache_is_left_to_its_store() -> None:
    with pytest.raises(CacheError) as caught:
        list_parts(as_path("memory://bucket/crops"))
    assert str(caught.value) == (
        "Cannot look through the remote cache 'memory://bucket/crops': that is for caches on this "
        "machine. Use the store's own tools, such as lifecycle rules on the folder v2/crops."
    )
