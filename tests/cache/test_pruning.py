"""Which parts go, in which order, and that none goes which a run uses."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.base.closing import Closing
from roi_cls.base.errors import CacheError
from roi_cls.cache.build import build_crops
from roi_cls.cache.lease import share
from roi_cls.cache.options import BuildOptions
from roi_cls.cache.upkeep import Part, PruneJob, choose_parts, list_parts, prune
from roi_cls.roi import CropParams, Detection
from roi_cls.roi.picture import Picture

NOW = 1_700_000_000.0  # seconds since 1970
DAY = 86400
NEAR, WIDE = CropParams(margin=0.1), CropParams(margin=0.9)  # of the same detections
SURE = CropParams(min_score=0.8)  # of others


def crops(params: CropParams, days: float, size: int = 100) -> Part:
    name = params.digest[:16]
    return Part("crops", name, Path(name), params, 1, size, NOW, NOW - days * DAY)


def seen(params: CropParams, days: float, size: int = 10) -> Part:
    name = params.detector_digest[:16]
    return Part("detections", name, Path(name), None, 1, size, NOW, NOW - days * DAY)


def old(days: float, size: int = 1000) -> Part:
    return Part("old", "v1", Path("v1"), None, 1, size, NOW, NOW - days * DAY)


A, B, C = crops(NEAR, 40), crops(WIDE, 20), crops(SURE, 10)
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


class NoFace(Closing):
    """Sees none."""

    def detect(self, picture: Picture) -> Detection:
        """Return none."""
        return Detection(picture.height, picture.width, (), "tiles")

    def close(self) -> None:
        """Free nothing."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one picture by three recipes, and what an older form left."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(1, 256, (30, 40, 3)).astype(np.uint8))
    os.utime(path, (NOW, NOW))
    for params in (NEAR, WIDE, SURE):
        assert list(build_crops([path], params, NoFace, BuildOptions(tmp_path / "c", 0)))
    (tmp_path / "c" / "v1").mkdir()
    (tmp_path / "c" / "v1" / "index.sqlite").write_bytes(bytes(50))
    return tmp_path / "c"


def names(cache: Path) -> set[str]:
    return {part.name for part in list_parts(cache)}


def rows_of(cache: Path, name: str) -> int:
    database = sqlite3.connect(cache / "v2" / "index.sqlite")
    found = database.execute("SELECT count(*) FROM rows WHERE recipe = ?", (bytes.fromhex(name),))
    count = int(found.fetchone()[0])
    database.close()
    return count


def test_part_goes_with_its_rows_and_no_other(cache: Path) -> None:
    before = names(cache)
    assert rows_of(cache, A.name) == rows_of(cache, B.name) == 1
    assert [one.part.name for one in prune(cache, PruneJob((A.name,)))] == [A.name]
    assert names(cache) == before - {A.name}
    assert (rows_of(cache, A.name), rows_of(cache, B.name)) == (0, 1)
    assert {one.part.name for one in prune(cache, PruneJob((B.name,)))} == {B.name, D.name}
    assert names(cache) == {C.name, E.name, "v1"}
    prune(cache, PruneJob(max_bytes=0))
    assert names(cache) == set()
    assert not (cache / "v1").exists()


def test_dry_run_removes_nothing(cache: Path) -> None:
    files = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    chosen = prune(cache, PruneJob(max_bytes=0), dry_run=True)
    assert {one.part.name for one in chosen} == names(cache)
    left = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
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
from roi_cls.cache.lease import share
with share(Path(sys.argv[1]), sys.argv[2:]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_part_that_a_running_process_uses_is_kept_until_it_dies(cache: Path) -> None:
    words = [sys.executable, "-c", _HOLD, str(cache / "v2"), NEAR.digest, NEAR.detector_digest]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        done = prune(cache, PruneJob((A.name, B.name)))
        assert {(one.part.name, one.in_use) for one in done} == {
            (A.name, True),
            (B.name, False),
        }
        assert names(cache) == {A.name, D.name, C.name, E.name, "v1"}
        prune(cache, PruneJob(max_bytes=0))
        assert names(cache) == {A.name, D.name}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert {one.in_use for one in prune(cache, PruneJob(max_bytes=0))} == {False}
    assert names(cache) == set()


def test_part_in_use_by_this_process_is_told_by_a_dry_run(cache: Path) -> None:
    with share(cache / "v2", [WIDE.digest]):
        (one,) = prune(cache, PruneJob((B.name,)), dry_run=True)
    assert one.in_use


def test_run_in_its_middle_keeps_its_part(cache: Path, tmp_path: Path) -> None:
    results = build_crops([tmp_path / "a.png"] * 2, NEAR, NoFace, BuildOptions(cache, 0))
    next(results)
    assert {one.in_use for one in prune(cache, PruneJob((A.name,)))} == {True}
    assert len(list(results)) == 1
    assert {one.in_use for one in prune(cache, PruneJob((A.name,)))} == {False}


def test_part_that_cannot_be_removed_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("roi_cls.cache.upkeep.shutil.rmtree", refuse)
    with pytest.raises(CacheError) as caught:
        prune(cache, PruneJob((A.name,)))
    assert str(caught.value) == (
        f"Cannot remove {str(cache / 'v2' / 'crops' / A.name)!r}: Permission denied. Check the "
        "permissions of the cache's folders, or let their owner run this."
    )
    assert A.name in names(cache)
