"""Near-duplicates: copies that are found, pictures that are left alone, and the memory of them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from roi_cls.cache.options import BuildOptions
from roi_cls.data.demo.picture import draw_picture
from roi_cls.data.near import (
    HASHES,
    Fingerprint,
    find_candidates,
    find_near_duplicates,
    look_up_fingerprints,
    measure_likeness,
    read_fingerprint,
    take_fingerprint,
)
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture

STORE = "v2/fingerprints.sqlite"


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """Eight drawn pictures, 448 x 640."""
    return [draw_picture(0, i, None) for i in range(8)]


def fingerprint(image: Image) -> Fingerprint:
    return take_fingerprint(Picture.of(np.ascontiguousarray(image)))


def save_again(image: Image) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def shrink(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (311, 217), interpolation=cv2.INTER_AREA), np.uint8)


def brighten(image: Image) -> Image:
    return np.asarray(np.clip(image * 1.15 + 8, 0, 255), np.uint8)


@pytest.mark.parametrize(
    "change",
    [save_again, shrink, brighten, lambda image: image[6:-12, 18:-4], lambda image: image[:, ::-1]],
    ids=["saved-again", "smaller", "brighter", "trimmed", "mirrored"],
)
def test_changed_copy_is_found_and_other_pictures_are_not(
    pictures: list[Image], change: Callable[[Image], Image]
) -> None:
    prints = [fingerprint(image) for image in (*pictures, change(pictures[5]))]
    assert find_near_duplicates(prints) == ((5, 8),)


def test_pictures_are_joined_through_each_other(pictures: list[Image]) -> None:
    prints = [fingerprint(pictures[0]), fingerprint(pictures[1])]
    prints += [fingerprint(save_again(pictures[1])), fingerprint(save_again(pictures[0]))]
    prints += [fingerprint(pictures[1])]
    assert find_near_duplicates(prints) == ((0, 3), (1, 2, 4))


def test_unreadable_and_blank_pictures_are_like_no_other(pictures: list[Image]) -> None:
    white = fingerprint(np.full((90, 120, 3), 250, np.uint8))
    black = fingerprint(np.zeros((90, 120, 3), np.uint8))
    prints = [None, white, white, black, fingerprint(pictures[0]), None]
    assert find_near_duplicates(prints) == ()
    assert find_near_duplicates([]) == ()


def test_close_hashes_without_likeness_join_nothing(pictures: list[Image]) -> None:
    one, other = fingerprint(pictures[0]), fingerprint(pictures[1])
    forged = Fingerprint(one.hashes, other.grey)
    assert find_near_duplicates([one, forged]) == ()
    assert find_near_duplicates([one, forged], likeness=-1) == ((0, 1),)


def test_candidates_are_all_pairs_within_the_distance() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (300, HASHES), np.uint64)  # several blocks of rows
    hashes[250, 0] = hashes[3, 0] ^ np.uint64(0b1011)
    hashes[7, 2] = hashes[299, 0]  # a trimmed copy
    hashes[131, -1] = hashes[64, 0]  # a mirrored one
    found = {(min(i, j), max(i, j), mirrored) for i, j, mirrored in find_candidates(hashes, 3)}
    assert found == {(3, 250, False), (7, 299, False), (64, 131, True)}
    assert not any({i, j} == {3, 250} for i, j, _ in find_candidates(hashes, 2))


def test_likeness_is_one_for_a_picture_and_itself(pictures: list[Image]) -> None:
    grey = fingerprint(pictures[0]).grey
    assert measure_likeness(grey, grey) == pytest.approx(1, abs=1e-4)
    assert measure_likeness(grey, 255 - grey) < 0.5


def test_fingerprint_survives_storage_and_damage_is_refused(pictures: list[Image]) -> None:
    one = fingerprint(pictures[0])
    again = Fingerprint.from_bytes(one.to_bytes())
    assert np.array_equal(one.hashes, again.hashes)
    assert np.array_equal(one.grey, again.grey)
    with pytest.raises(ValueError, match="a fingerprint has 1056 bytes, got 7"):
        Fingerprint.from_bytes(b"damaged")


@pytest.fixture
def files(tmp_path: Path, pictures: list[Image]) -> list[Path]:
    """Three files, the last of which is no picture."""
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, image in zip(paths, pictures, strict=False):
        cv2.imwrite(str(path), image)
    paths[2].write_bytes(b"no picture")
    return paths


def test_fingerprints_are_taken_once(tmp_path: Path, files: list[Path]) -> None:
    options = BuildOptions(tmp_path / "cache")
    digests = ["aa" * 32, "bb" * 32, "cc" * 32]
    decoded: list[int] = []
    first = look_up_fingerprints(files, digests, options, lambda done, total: decoded.append(total))
    assert decoded == [3]
    assert first[2] is None
    for path in files:
        path.unlink()
    again = look_up_fingerprints(files, digests, options, lambda done, total: decoded.append(total))
    assert decoded == [3, 1]  # what cannot be read is tried again
    for one, other in zip(first[:2], again[:2], strict=True):
        assert one is not None
        assert other is not None
        assert one.to_bytes() == other.to_bytes()


def test_pictures_without_a_digest_have_no_fingerprint(tmp_path: Path, files: list[Path]) -> None:
    assert (
        look_up_fingerprints(files, ["", "", ""], BuildOptions(tmp_path / "cache")) == (None,) * 3
    )


def test_processes_take_the_same_fingerprints(tmp_path: Path, files: list[Path]) -> None:
    digests, found = ["aa" * 32, "bb" * 32, "cc" * 32], []
    for workers in (0, 2):
        options = BuildOptions(tmp_path / f"{workers}", workers=workers)
        prints = look_up_fingerprints(files, digests, options)
        found.append([one and one.to_bytes() for one in prints])
    assert found[0] == found[1]
    assert [one is None for one in found[0]] == [False, False, True]


@pytest.mark.parametrize("damage", ["file", "row", "folder"])
def test_damaged_memory_costs_time_only(tmp_path: Path, files: list[Path], damage: str) -> None:
    options, digests = BuildOptions(tmp_path / "cache"), ["aa" * 32, "bb" * 32, ""]
    first = look_up_fingerprints(files, digests, options)
    store = tmp_path / "cache" / STORE
    assert store.exists()
    if damage == "file":
        store.write_bytes(b"SQLite format 3\0" + os.urandom(4000))
    elif damage == "row":
        with sqlite3.connect(store) as database:
            database.execute("UPDATE fingerprints SET print = ?", (b"x",))
        database.close()
    else:
        store.unlink()
        store.mkdir()
    again = look_up_fingerprints(files, digests, options)
    assert [p and p.to_bytes() for p in again] == [p and p.to_bytes() for p in first]


def test_file_that_is_no_picture_has_no_fingerprint(files: list[Path]) -> None:
    assert read_fingerprint(files[2]) is None


@pytest.mark.slow
def test_many_pictures_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (20_000, HASHES), np.uint64)
    greys = rng.integers(0, 256, (20_000, 32, 32), np.uint8)
    prints = [Fingerprint(*pair) for pair in zip(hashes, greys, strict=True)]
    start = time.perf_counter()
    assert find_near_duplicates(prints) == ()
    assert time.perf_counter() - start < 20  # 2 s where the cores are free
