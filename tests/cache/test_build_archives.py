"""Crops of pictures in archives: known again without reading, anew when the archive changes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from roi_cls.cache import builder
from roi_cls.cache.build import build_crops
from roi_cls.cache.options import BuildOptions, Shard
from roi_cls.cache.record import CropResult, read_stamp
from roi_cls.roi import CropParams
from tests.helpers.archives import make_table, make_tar, make_zip
from tests.helpers.fakes import FakeDetector, see_or_die
from tests.helpers.pictures import encode, noise

PARAMS = CropParams(size_px=16, min_face_px=4)
PICTURES = {f"{i}.png": encode(noise(30, 40, 3, low=1, seed=i)) for i in range(6)}


class DyingDetector(FakeDetector):
    """Sees a face, and ends its process at a blue picture."""

    def __init__(self) -> None:
        super().__init__(see_or_die)


def make(path: Path, content: dict[str, bytes]) -> list[Path]:
    """Write an archive of that suffix; return its pictures."""
    if path.suffix == ".zip":
        make_zip(path, content)
    elif path.suffix == ".parquet":
        make_table(path, list(content.values()), paths=list(content))
    else:
        make_tar(path, content, "w:gz" if path.suffix == ".gz" else "w")
    return [path / name for name in content]


def build(paths: Sequence[Path], cache: Path, workers: int = 0) -> list[CropResult]:
    return list(build_crops(paths, PARAMS, DyingDetector, BuildOptions(cache, workers)))


@pytest.fixture(params=["a.zip", "a.tar", "a.tar.gz", "a.parquet"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_unchanged_archives_are_not_read_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make(archive, PICTURES)
    first = build(paths, tmp_path / "cache")
    assert [one.record.status for one in first] == ["ok"] * 6
    read: list[Path] = []
    monkeypatch.setattr(builder, "read_bytes", read.append)
    second = build(paths, tmp_path / "cache")
    assert read == []
    assert [one.record for one in second] == [one.record for one in first]
    assert not any(one.detected or one.cropped for one in second)


def test_a_rewritten_archive_is_read_and_only_what_changed_is_cropped(
    archive: Path, tmp_path: Path
) -> None:
    build(make(archive, PICTURES), tmp_path / "cache")
    changed = {**PICTURES, "3.png": encode(noise(30, 40, 3, low=1, seed=99))}
    again = build(make(archive, changed), tmp_path / "cache")
    assert [one.cropped for one in again] == [i == 3 for i in range(6)]


def test_workers_give_the_rows_of_one_process(archive: Path, tmp_path: Path) -> None:
    paths = make(archive, PICTURES)
    alone = [one.record for one in build(paths, tmp_path / "one")]
    assert [one.record for one in build(paths, tmp_path / "two", workers=2)] == alone


def test_a_member_that_kills_its_process_is_a_row(archive: Path, tmp_path: Path) -> None:
    blue = noise(30, 40, 3, low=1)
    blue[..., :2], blue[..., 2] = 0, 255
    found = build(make(archive, {**PICTURES, "2.png": encode(blue)}), tmp_path / "cache", workers=1)
    assert [one.record.status for one in found] == ["ok", "ok", "error", "ok", "ok", "ok"]
    assert "the process that decoded it died (exit code 9)" in str(found[2].record.error)


def test_broken_members_are_rows(archive: Path, tmp_path: Path) -> None:
    content = {**PICTURES, "2.png": b"no picture", "4.png": PICTURES["4.png"][:-40]}
    found = build(make(archive, content), tmp_path / "cache")
    assert [one.record.status for one in found] == ["ok", "ok", "error", "ok", "error", "ok"]
    assert str(found[2].record.error).startswith(f"Cannot read '{archive}/2.png': ")


def test_equal_pictures_in_files_and_archives_are_cropped_once(
    archive: Path, tmp_path: Path
) -> None:
    build(make(archive, PICTURES), tmp_path / "cache")
    for name, data in PICTURES.items():
        (tmp_path / name).write_bytes(data)
    found = build([tmp_path / name for name in PICTURES], tmp_path / "cache")
    assert not any(one.detected or one.cropped for one in found)


def test_members_have_the_stamp_of_their_archive(archive: Path) -> None:
    paths = make(archive, PICTURES)
    assert read_stamp(archive) is not None
    assert {read_stamp(path) for path in paths} == {read_stamp(archive)}
    archive.touch()
    assert read_stamp(paths[0]) is None  # too new to be trusted
    assert read_stamp(archive.with_name("none.zip") / "1.png") is None


def test_a_shard_takes_whole_archives(tmp_path: Path) -> None:
    archives = [tmp_path / f"{i}.zip" for i in range(20)]
    members = [path for archive in archives for path in make(archive, PICTURES)]
    shards = [Shard(i, 3) for i in (1, 2, 3)]
    for shard in shards:
        held = {path.parent for path in members if shard.holds(path)}
        assert held == {archive for archive in archives if shard.holds(archive)}
        assert held
    assert all(sum(shard.holds(path) for shard in shards) == 1 for path in members)
