"""The demo set on disk: which files, which labels, the same bytes again, and each refusal."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

import roi_cls.data.demo.draw as demo
from roi_cls.base.errors import DataError
from roi_cls.data.demo.defect import DEFECT_KINDS
from roi_cls.data.demo.draw import (
    DemoParams,
    DemoPicture,
    DemoSummary,
    draw_demo,
    plan_demo,
)
from roi_cls.data.demo.picture import count_faces, draw_picture

_FEW = DemoParams(images=20, seed=3)


def _read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoSummary, list[int]]:
    folder = tmp_path_factory.mktemp("demo") / "new" / "set"
    reports: list[int] = []
    return folder, draw_demo(folder, _FEW, workers=1, progress=reports.append), reports


@pytest.mark.parametrize(
    ("images", "train", "test"),
    [
        (20, (2, 12), (2, 4)),
        (40, (3, 24), (2, 11)),
        (100, (7, 61), (3, 29)),
        (1000, (68, 612), (32, 288)),
    ],
)
@pytest.mark.parametrize("seed", [0, 7])
def test_both_parts_hold_one_artefact_in_ten(
    images: int, train: tuple[int, int], test: tuple[int, int], seed: int
) -> None:
    plan = plan_demo(DemoParams(images, seed))
    counts = Counter((picture.part, picture.kind is None) for picture in plan)
    assert (counts["train", False], counts["train", True]) == train
    assert (counts["test", False], counts["test", True]) == test


def test_kinds_of_defects_take_turns_in_each_part() -> None:
    plan = plan_demo(DemoParams(images=1000))
    for part, least in (("train", 13), ("test", 6)):
        kinds = Counter(p.kind for p in plan if p.part == part and p.kind is not None)
        assert set(kinds) == set(DEFECT_KINDS)
        assert least <= min(kinds.values()) <= max(kinds.values()) <= least + 1


def test_frame_without_face_is_clean() -> None:
    plan = plan_demo(DemoParams(images=600, seed=1))
    empty = [picture for picture in plan if count_faces(1, picture.index) == 0]
    assert empty
    assert all(picture.kind is None for picture in empty)


def test_index_betrays_neither_part_nor_label() -> None:
    plan = plan_demo(DemoParams())
    assert [picture.index for picture in plan] == list(range(600))
    for kind in (
        [p.index for p in plan if p.part == "test"],
        [p.index for p in plan if p.kind is not None],
    ):
        assert 200 < sum(kind) / len(kind) < 400  # of 0..599: spread over all


def test_files_are_named_as_in_the_origin(drawn: tuple[Path, DemoSummary, list[int]]) -> None:
    folder, _, _ = drawn
    names = set(_read(folder))
    assert names == {"demo.json", *(picture.name for picture in plan_demo(_FEW))}
    for name in names - {"demo.json"}:
        assert re.fullmatch(r"(train|test)/image_\d{5}_[01]\.png", name)


def test_summary_counts_what_is_there(drawn: tuple[Path, DemoSummary, list[int]]) -> None:
    folder, summary, reports = drawn
    assert summary == DemoSummary(folder, 20, 2, 12, 2, 4, drawn=20)
    assert len(list(folder.glob("train/*_0.png"))) == 2
    assert len(list(folder.glob("test/*_1.png"))) == 4
    assert sum(reports) == 20
    assert json.loads((folder / "demo.json").read_text()) == {"version": 1, "images": 20, "seed": 3}


def test_file_holds_the_picture_that_draw_picture_returns(
    drawn: tuple[Path, DemoSummary, list[int]],
) -> None:
    folder, _, _ = drawn
    picture = next(p for p in plan_demo(_FEW) if p.kind is not None)
    read = cv2.imread(str(folder / picture.name))
    assert read is not None
    assert (read[..., ::-1] == draw_picture(3, picture.index, picture.kind)).all()


def test_workers_draw_the_same_bytes(
    drawn: tuple[Path, DemoSummary, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = drawn
    monkeypatch.setattr(demo, "_FEW", 0)  # worker processes even for these few
    reports: list[int] = []
    draw_demo(tmp_path, _FEW, workers=2, progress=reports.append)
    assert _read(tmp_path) == _read(folder)
    assert reports == [1] * 20


def test_other_seed_draws_other_pictures() -> None:
    assert plan_demo(DemoParams(40, 0)) != plan_demo(DemoParams(40, 1))
    assert (draw_picture(0, 0, None) != draw_picture(1, 0, None)).any()


def test_finished_set_is_left_alone(drawn: tuple[Path, DemoSummary, list[int]]) -> None:
    folder, summary, _ = drawn
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = draw_demo(folder, _FEW, workers=1)
    assert again.drawn == 0
    assert again.artefacts_train == summary.artefacts_train
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_interrupted_set_is_continued(
    drawn: tuple[Path, DemoSummary, list[int]], tmp_path: Path
) -> None:
    folder, _, _ = drawn

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_demo(tmp_path, _FEW, workers=1, progress=interrupt)
    begun = _read(tmp_path)
    assert len(begun) == 2  # a picture, and the note whose it is
    assert "demo.unfinished.json" in begun
    assert draw_demo(tmp_path, _FEW, workers=1).drawn == 19
    assert _read(tmp_path) == _read(folder)


def test_lost_and_empty_pictures_are_drawn_again(tmp_path: Path) -> None:
    draw_demo(tmp_path, _FEW, workers=1)
    before = _read(tmp_path)
    lost, empty, *_ = sorted(tmp_path.glob("train/*.png"))
    lost.unlink()
    empty.write_bytes(b"")
    assert draw_demo(tmp_path, _FEW, workers=1).drawn == 2
    assert _read(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (
            "demo.json",
            '{"version": 1, "images": 1000, "seed": 0}',
            "it holds another demo set (version 1, images 1000, seed 0)",
        ),
        (
            "demo.unfinished.json",
            '{"version": 1, "images": 20, "seed": 4}',
            "it holds another demo set (version 1, images 20, seed 4)",
        ),
        (
            "demo.json",
            '{"version": 0, "images": 20, "seed": 3}',
            "it holds another demo set (version 0, images 20, seed 3)",
        ),
        ("demo.json", "[]", "it holds another demo set (of an unknown form)"),
        ("demo.json", "{", "its demo.json cannot be read"),
        ("photo.JPG", "", "it holds pictures of another origin, such as 'photo.JPG'"),
        ("test/a.png", "", "it holds pictures of another origin, such as 'test/a.png'"),
    ],
)
def test_folder_of_something_else_is_refused(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    before = _read(tmp_path)
    with pytest.raises(DataError) as caught:
        draw_demo(tmp_path, _FEW, workers=1)
    assert str(caught.value) == (
        f"Cannot draw the demo set in {str(tmp_path)!r}: {problem}. "
        "Choose another folder or delete this one."
    )
    assert _read(tmp_path) == before


def test_stray_picture_beside_a_finished_set_is_refused(tmp_path: Path) -> None:
    record = json.dumps({"version": 1, "images": 20, "seed": 3})
    (tmp_path / "demo.json").write_text(record)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "image_00000_9.png").write_bytes(b"?")
    with pytest.raises(DataError, match=r"another origin, such as 'train/image_00000_9\.png'"):
        draw_demo(tmp_path, _FEW, workers=1)


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(DataError, match=r"it is a file\. Choose another folder or delete this one"):
        draw_demo(tmp_path / "set", _FEW, workers=1)


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("")  # a file where a folder must go, also for root
    with pytest.raises(DataError) as caught:
        draw_demo(tmp_path, _FEW, workers=1)
    assert str(caught.value).startswith(f"Cannot write the demo set to {str(tmp_path)!r}: ")
    assert str(caught.value).endswith(
        ". Free some space or choose another folder; what is drawn is kept."
    )


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        draw_demo(tmp_path, DemoParams(images=19))
    assert str(caught.value) == (
        "Cannot draw a demo set of 19 pictures: train and test both need pictures of both "
        "classes. Ask for 20 or more."
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"images": 100_001}, "images must be at most 100000 (five digits), got 100001"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_params_out_of_range_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DemoParams(**values)


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        draw_demo(tmp_path, _FEW, workers=0)


@contextlib.contextmanager
def _dying(folder: Path, seed: int) -> Iterator[Callable[[DemoPicture], int]]:
    yield lambda picture: os._exit(9)


def test_dead_worker_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_FEW", 0)
    monkeypatch.setattr(demo, "_drawing", _dying)
    with pytest.raises(DataError) as caught:
        draw_demo(tmp_path, _FEW, workers=2)
    assert str(caught.value) == (
        f"Cannot draw the demo set in {str(tmp_path)!r}: a worker process died, perhaps for lack "
        "of memory. Run it again with one worker; what is drawn is kept."
    )
