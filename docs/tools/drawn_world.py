"""The pictures that the pages speak of, drawn: a small demo set, ``photos``, and a few files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from roi_cls.data.demo.draw import DemoParams, DemoPicture, plan_demo
from roi_cls.data.demo.picture import count_faces, draw_picture

LABELS = ("artefact", "artefactless")
"""The classes of the demo set."""
SEEN = 77
"""Index of the demo picture that the README predicts."""


def draw_world(folder: Path) -> None:
    """Draw ``artifacts/demo``, ``photos``, ``more`` and ``img.png``.

    The pictures of the demo set are those that ``roi-cls data demo`` draws, a few of them;
    ``photos`` holds the folders ``0``, the class that is looked for, and ``1``.
    """
    cv2.setNumThreads(1)  # two threads of one core would wait for each other
    plan = plan_demo(DemoParams())
    train, test = (_by_class(plan, part) for part in ("train", "test"))
    seen = next(picture for picture in plan if picture.index == SEEN)
    demo = [*train[0][:10], *train[1][:26], seen, *test[0][:4], *test[1][:12]]
    for picture in dict.fromkeys(demo):
        _draw(picture, folder / "artifacts" / "demo" / picture.name)
    faces = {picture: count_faces(DemoParams().seed, picture.index) for picture in plan}
    empty = [one for one in train[1] if not faces[one]]
    clean = [*train[1][26:62], empty[1]]  # in the first the detector sees something
    for name, pictures in (("0", train[0][10:30]), ("1", clean)):
        for picture in pictures:
            _draw(picture, folder / "photos" / name / f"{picture.index:04}.png")
    others = ("img.png", "more/a.jpg", "more/far/b.jpg")
    with_face = [one for one in test[1][12:] if faces[one] == 1]
    for name, picture in zip(others, with_face, strict=False):
        _draw(picture, folder / name)


def copy_world(world: Path, folder: Path, classes: Sequence[str]) -> None:
    """Copy the drawn pictures, the class folders of ``photos`` called as the page calls them."""
    shutil.copytree(world, folder, ignore=shutil.ignore_patterns("photos"))
    for number, name in enumerate(classes):
        shutil.copytree(world / "photos" / str(number), folder / "photos" / name)


def _by_class(plan: Sequence[DemoPicture], part: str) -> tuple[list[DemoPicture], ...]:
    pictures = [picture for picture in plan if picture.part == part]
    return (
        [picture for picture in pictures if picture.kind is not None],
        [picture for picture in pictures if picture.kind is None],
    )


def _draw(picture: DemoPicture, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = draw_picture(DemoParams().seed, picture.index, picture.kind)
    if not cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1])):  # OpenCV writes BGR
        raise OSError(f"cannot write {path}")
