"""What a cache holds is counted, damage is found, and what is to go goes, but no part in use."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.errors import CacheError
from roi_cls.base.location import as_path
from roi_cls.cache.build import build_crops
from roi_cls.cache.options import BuildOptions, Shard
from roi_cls.cache.record import CropResult
from roi_cls.cache.store import share_parts
from roi_cls.cache.upkeep import (
    Part,
    PruneJob,
    choose_parts,
    find_damaged,
    list_parts,
    measure_index,
    prune,
)
from roi_cls.roi import CropParams
from tests.helpers.fakes import FACE, FakeDetector, see
from tests.helpers.pictures import LONG_AGO, backdate, noise, save

PARAMS = CropParams(size_px=16, min_face_px=4)
WIDE = CropParams(size_px=16, min_face_px=4, margin=0.7)
FULL = CropParams(crop="full", size_px=16)
BMP_BYTES = 54 + 16 * 16 * 3 + 73  # header, pixels, checksum: 895

Crop = Callable[..., list[CropResult]]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Three pictures of noise, long unchanged."""
    return [save(tmp_path / f"{i}.png", noise(30, 40, 3, low=1, seed=i)) for i in range(3)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def crop(paths: list[Path], cache: Path) -> Crop:
    """Crop the pictures by a recipe."""

    def crop(params: CropParams = PARAMS, **options: object) -> list[CropResult]:
        chosen = BuildOptions(cache, 0, **options)  # type: ignore[arg-type]  # a test's own
        return list(build_crops(paths, params, partial(FakeDetector, see(FACE)), chosen))

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
    with share_parts(cache / "v2", [PARAMS.digest]):
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
        ('{"version": 3}', True),
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


NOW = 1_700_000_000.0  # seconds since 1970
DAY = 86400
NEAR, FAR = CropParams(margin=0.1), CropParams(margin=0.9)  # of the same detections
SURE = CropParams(min_score=0.8)  # of others


def crops(params: CropParams, days: float, size: int = 100) -> Part:
    name = params.digest[:16]
    return Part("crops", name, Path(name), params, 1, size, NOW, NOW - days * DAY)


def seen(params: CropParams, days: float, size: int = 10) -> Part:
    name = params.detector_digest[:16]
    return Part("detections", name, Path(name), None, 1, size, NOW, NOW - days * DAY)


def old(days: float, size: int = 1000) -> Part:
    return Part("old", "v1", Path("v1"), None, 1, size, NOW, NOW - days * DAY)


A, B, C = crops(NEAR, 40), crops(FAR, 20), crops(SURE, 10)
D, E, V = seen(NEAR, 20), seen(SURE, 10), old(300)
UNKNOWN = replace(crops(CropParams(margin=0.2), 30), recipe=None)
ALL = (A, B, C, D, E, V)


def days(count: float) -> PruneJob:
    return PruneJob(unused_s=count * DAY)


@pytest.mark.parametrize(
    ("parts", "pruning", "chosen"),
    [
        (ALL, PruneJob((A.name,)), [A]),
        (ALL, PruneJob((A.name[:6],)), [A]),
        (ALL, PruneJob((A.name, B.name)), [A, B, D]),  # the last ones of their detections
        (ALL, PruneJob((C.name,)), [C, E]),
        (ALL, PruneJob(("v1",)), [V]),
        (ALL, PruneJob((D.name,)), [D]),  # named: the crops stay without them
        (ALL, days(400), []),
        (ALL, days(100), [V]),
        (ALL, days(30), [V, A]),
        (ALL, days(15), [V, A, B, D]),
        (ALL, days(0), [V, A, B, D, C, E]),
        (ALL, PruneJob(max_bytes=10**6), []),
        (ALL, PruneJob(max_bytes=1320), []),  # all of it
        (ALL, PruneJob(max_bytes=1319), [V]),
        (ALL, PruneJob(max_bytes=320), [V]),
        (ALL, PruneJob(max_bytes=319), [V, A]),
        (ALL, PruneJob(max_bytes=219), [V, A, B, D]),
        (ALL, PruneJob(max_bytes=0), [V, A, B, D, C, E]),
        (ALL, PruneJob((B.name,), max_bytes=1219), [B, V]),
        (ALL, PruneJob((C.name,), 30 * DAY, 10**6), [V, A, C, E]),
        ((A, D, E), PruneJob((A.name,)), [A, D]),  # E is nobody's, and nobody asked
        ((A, D, E), days(5), [A, D, E]),
        ((A, D, E), PruneJob(max_bytes=10), [A, D]),
        ((A, D, E), PruneJob(max_bytes=9), [A, D, E]),
        ((D,), days(30), []),
        ((D,), days(5), [D]),
        ((A, UNKNOWN, D), PruneJob((A.name,)), [A]),  # the unknown recipe may use them
        ((A, UNKNOWN, D), days(5), [A, UNKNOWN, D]),
        ((A, UNKNOWN, D), PruneJob((UNKNOWN.name,)), [UNKNOWN]),
        ((), days(0), []),
    ],
)
def test_parts_are_chosen_the_longest_unused_first(
    parts: Sequence[Part], pruning: PruneJob, chosen: list[Part]
) -> None:
    assert choose_parts(parts, pruning, NOW) == chosen


def test_room_is_made_of_what_is_not_in_use() -> None:
    """What is in use is among the chosen, so that it is told why it stays."""
    in_use = {V.name, A.name, D.name}
    assert choose_parts(ALL, PruneJob(max_bytes=1220), NOW, in_use) == [V, A, B]
    assert choose_parts(ALL, days(30), NOW, in_use) == [V, A]


RECIPES = [CropParams(margin=i / 10, min_score=j / 10) for i in range(3) for j in range(3)]
AGES = st.integers(0, 50)


@given(st.dictionaries(st.sampled_from(RECIPES), AGES), AGES, st.integers(0, 1200))
def test_detections_go_with_their_last_crops_and_the_size_is_kept(
    ages: dict[CropParams, int], unused: int, most: int
) -> None:
    kept_for: dict[str, int] = {}
    for params, age in ages.items():
        kept_for[params.detector_digest] = min(kept_for.get(params.detector_digest, 99), age)
    detectors = {params.detector_digest: params for params in ages}
    parts = [crops(params, age) for params, age in ages.items()]
    parts += [seen(params, kept_for[digest]) for digest, params in detectors.items()]
    chosen = choose_parts(parts, PruneJob((), unused * DAY, most), NOW)
    left = [part for part in parts if part not in chosen]
    assert sum(part.bytes for part in left) <= most
    used = {part.recipe.detector_digest[:16] for part in left if part.recipe}
    assert {part.name for part in left if part.kind == "detections"} == used
    assert len(chosen) == len({part.name for part in chosen})


@pytest.mark.parametrize("name", ["", "zz", "V1", A.name + "0"])
def test_name_that_no_part_has_is_told(name: str) -> None:
    with pytest.raises(CacheError) as caught:
        choose_parts(ALL, PruneJob((name,)), NOW)
    assert str(caught.value) == (
        f"Cannot find {name!r} in the cache: no part has a name that begins so. "
        "`roi-cls cache info` lists the names."
    )


def test_name_that_two_parts_have_is_told() -> None:
    parts = [replace(A, name="ab12"), replace(B, name="ab34")]
    with pytest.raises(CacheError) as caught:
        choose_parts(parts, PruneJob(("ab",)), NOW)
    assert str(caught.value) == (
        "Cannot tell which part of the cache 'ab' is: ab12, ab34 begin so. Give more of the name."
    )


open_detector = partial(FakeDetector, see())


@pytest.fixture
def stocked(tmp_path: Path) -> Path:
    """A cache with one picture by three recipes, and what an older form left."""
    path = backdate(save(tmp_path / "a.png", noise(30, 40, 3, low=1)), NOW)
    for params in (NEAR, FAR, SURE):
        assert list(build_crops([path], params, open_detector, BuildOptions(tmp_path / "c", 0)))
    (tmp_path / "c" / "v1").mkdir()
    (tmp_path / "c" / "v1" / "index.sqlite").write_bytes(bytes(50))
    return tmp_path / "c"


def names(stocked: Path) -> set[str]:
    return {part.name for part in list_parts(stocked)}


def rows_of(stocked: Path, name: str) -> int:
    database = sqlite3.connect(stocked / "v2" / "index.sqlite")
    found = database.execute("SELECT count(*) FROM rows WHERE recipe = ?", (bytes.fromhex(name),))
    count = int(found.fetchone()[0])
    database.close()
    return count


def test_part_goes_with_its_rows_and_no_other(stocked: Path) -> None:
    before = names(stocked)
    assert rows_of(stocked, A.name) == rows_of(stocked, B.name) == 1
    assert [one.part.name for one in prune(stocked, PruneJob((A.name,)))] == [A.name]
    assert names(stocked) == before - {A.name}
    assert (rows_of(stocked, A.name), rows_of(stocked, B.name)) == (0, 1)
    assert {one.part.name for one in prune(stocked, PruneJob((B.name,)))} == {B.name, D.name}
    assert names(stocked) == {C.name, E.name, "v1"}
    prune(stocked, PruneJob(max_bytes=0))
    assert names(stocked) == set()
    assert not (stocked / "v1").exists()


def test_dry_run_removes_nothing(stocked: Path) -> None:
    files = {path: path.read_bytes() for path in stocked.rglob("*") if path.is_file()}
    chosen = prune(stocked, PruneJob(max_bytes=0), dry_run=True)
    assert {one.part.name for one in chosen} == names(stocked)
    left = {path: path.read_bytes() for path in stocked.rglob("*") if path.is_file()}
    assert left == files


def test_dry_run_makes_nothing_beside_an_older_form(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    assert [one.part.name for one in prune(tmp_path, days(0), dry_run=True)] == ["v1"]
    assert os.listdir(tmp_path) == ["v1"]
    prune(tmp_path, PruneJob(("v1",)))
    assert os.listdir(tmp_path) == []


_HOLD = """
import sys, time
from pathlib import Path
from roi_cls.cache.store import share_parts
with share_parts(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_part_that_a_running_process_uses_is_kept_until_it_dies(stocked: Path) -> None:
    words = [sys.executable, "-c", _HOLD, str(stocked / "v2"), NEAR.digest, NEAR.detector_digest]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        done = prune(stocked, PruneJob((A.name, B.name)))
        assert {(one.part.name, one.in_use) for one in done} == {
            (A.name, True),
            (B.name, False),
        }
        assert names(stocked) == {A.name, D.name, C.name, E.name, "v1"}
        prune(stocked, PruneJob(max_bytes=0))
        assert names(stocked) == {A.name, D.name}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert {one.in_use for one in prune(stocked, PruneJob(max_bytes=0))} == {False}
    assert names(stocked) == set()


def test_part_in_use_by_this_process_is_told_by_a_dry_run(stocked: Path) -> None:
    with share_parts(stocked / "v2", [FAR.digest]):
        (one,) = prune(stocked, PruneJob((B.name,)), dry_run=True)
    assert one.in_use


def test_run_in_its_middle_keeps_its_part(stocked: Path, tmp_path: Path) -> None:
    results = build_crops([tmp_path / "a.png"] * 2, NEAR, open_detector, BuildOptions(stocked, 0))
    next(results)
    assert {one.in_use for one in prune(stocked, PruneJob((A.name,)))} == {True}
    assert len(list(results)) == 1
    assert {one.in_use for one in prune(stocked, PruneJob((A.name,)))} == {False}


def test_part_that_cannot_be_removed_is_told(
    stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(CacheError) as caught:
        prune(stocked, PruneJob((A.name,)))
    assert str(caught.value) == (
        f"Cannot remove {str(stocked / 'v2' / 'crops' / A.name)!r}: Permission denied. Check the "
        "permissions of the cache's folders, or let their owner run this."
    )
    assert A.name in names(stocked)
