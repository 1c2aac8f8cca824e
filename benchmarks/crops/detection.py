"""How well, and at what cost, each way of looking finds the faces of a folder of pictures.

    python -m benchmarks.crops.detection FOLDER [boxes.json] [--faceless FOLDER] [--json FILE]

boxes.json (default FOLDER/boxes.json) has the true boxes of each picture, by its file name:
{"a.jpg": [[left, top, right, bottom], ...], ...}. A face is true where IoU with one is 0.4 or more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from roi_cls.roi.detection.cascade import merge_faces, tile_frame
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.detection.glimpse import glimpse_region
from roi_cls.roi.image import read_bytes
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import plan_crop

TRUE_IOU = 0.4
SIZES_PX = (0, 12, 16, 24, 32, 48, 64, 96)
"""Lower bounds of the size buckets: the shorter side of a true box."""
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
Truth = dict[str, list[Box]]


class _Detects(Protocol):
    def detect(self, picture: Picture) -> Detection: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What one way of looking saw in one picture."""

    name: str
    detection: Detection
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table; shares are of pictures, 0 to 1."""

    way: str
    found: float
    """Pictures where an accepted face is true."""
    chosen_largest: float
    """Pictures where the face of ``--face largest`` is true."""
    chosen_confident: float
    recall: float
    """True boxes that were found."""
    recall_by_px: dict[str, float]
    false_faces: float | None
    """Accepted faces per face-free picture."""
    false_pictures: float | None
    """Face-free pictures with an accepted face."""
    milliseconds: float
    """Mean per picture with faces, decoding included."""
    milliseconds_faceless: float | None
    steps: dict[str, float]
    """Pictures with faces for which each step was the last; one that came last ran all before."""


class UnconfirmedTiles:
    """Both networks on the frame and on its tiles, merged, each score taken at its word."""

    def __init__(self, networks: Sequence[NetworkDetector]) -> None:
        self._networks = networks

    def detect(self, picture: Picture) -> Detection:
        """Return all faces seen anywhere, best first."""
        faces: list[Face] = []
        for region in (Box(0, 0, picture.width, picture.height), *_tiles(picture)):
            glimpse = glimpse_region(picture, region)
            part = Picture.of(glimpse.image)
            faces += [glimpse.place(f) for n in self._networks for f in n.detect(part).faces]
        return Detection(picture.height, picture.width, merge_faces(faces))


def main() -> None:
    """Measure, print the table, and write it as JSON where that is asked for."""
    arguments = _parse(sys.argv[1:])
    truth = read_boxes(arguments.boxes or arguments.folder / "boxes.json")
    pictures = [arguments.folder / name for name in truth]
    faceless = _list_pictures(arguments.faceless) if arguments.faceless else []
    rows: list[Figures] = []
    with ExitStack() as stack:
        for way, detector, params in _ways(stack, arguments.min_face):
            print(f"{way} ...", file=sys.stderr)
            seen, empty = look_at(detector, pictures), look_at(detector, faceless)
            rows += [
                judge(
                    f"{way}, score {score:g}", replace(params, min_score=score), truth, seen, empty
                )
                for score in ((params.min_score,) if way == "auto" else (0.3, 0.5, 0.7))
            ]
        for score in (0.4, 0.6):
            params = CropParams(min_score=score, min_face_px=arguments.min_face)
            detector = stack.enter_context(NetworkDetector(resolve_models("auto"), params))
            seen, empty = look_at(detector, pictures), look_at(detector, faceless)
            rows.append(judge(f"auto, score {score:g}", params, truth, seen, empty))
    print(format_table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how well faces are found.")
    parser.add_argument("folder", type=Path, help="pictures with faces")
    parser.add_argument("boxes", nargs="?", type=Path, help="true boxes; default FOLDER/boxes.json")
    parser.add_argument("--faceless", type=Path, help="folder of pictures without a face")
    parser.add_argument("--min-face", type=int, default=CropParams().min_face_px, help="pixels")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    return parser.parse_args(words)


def _ways(stack: ExitStack, min_face: int) -> Iterable[tuple[str, _Detects, CropParams]]:
    params = CropParams(min_face_px=min_face)
    short, full = (
        stack.enter_context(
            # A low score, so that one look serves several thresholds.
            NetworkDetector(resolve_models(kind), replace(params, detector=kind, min_score=0.2))
        )
        for kind in ("short", "full")
    )
    yield "short", short, params
    yield "full", full, params
    yield "tiles, unconfirmed", UnconfirmedTiles((short, full)), params
    yield "auto", stack.enter_context(NetworkDetector(resolve_models("auto"), params)), params


def _tiles(picture: Picture) -> tuple[Box, ...]:
    return tile_frame(picture.height, picture.width)


def _list_pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def read_boxes(path: Path) -> Truth:
    """Return the true boxes by file name."""
    boxes = json.loads(path.read_text())
    return {name: [Box(*map(float, box)) for box in found] for name, found in boxes.items()}


def look_at(detector: _Detects, paths: Iterable[Path]) -> list[Seen]:
    """Return what the detector sees in each file, and the time with reading and decoding."""
    seen = []
    for i, path in enumerate(paths):
        if i == 0:
            detector.detect(Picture(read_bytes(path), path))  # loads the networks, untimed
        start = time.perf_counter()
        detection = detector.detect(Picture(read_bytes(path), path))
        seen.append(Seen(path.name, detection, 1e3 * (time.perf_counter() - start)))
    return seen


def judge(
    way: str, params: CropParams, truth: Truth, seen: Sequence[Seen], empty: Sequence[Seen]
) -> Figures:
    """Return the figures of one way of looking at one threshold."""
    accepted = [_accepted(s.detection, params) for s in seen]
    false = [len(_accepted(s.detection, params)) for s in empty]
    boxes = [
        (box, any(face.box.iou(box) >= TRUE_IOU for face in faces))
        for s, faces in zip(seen, accepted, strict=True)
        for box in truth[s.name]
    ]
    steps = Counter(s.detection.step or "-" for s in seen)
    return Figures(
        way,
        _mean(
            any(_is_true(f, truth[s.name]) for f in a) for s, a in zip(seen, accepted, strict=True)
        ),
        _mean(_is_choice_true(s, replace(params, face="largest"), truth) for s in seen),
        _mean(_is_choice_true(s, replace(params, face="confident"), truth) for s in seen),
        _mean(found for _, found in boxes),
        _by_size(boxes),
        _mean(false) if empty else None,
        _mean(count > 0 for count in false) if empty else None,
        _mean(s.milliseconds for s in seen),
        _mean(s.milliseconds for s in empty) if empty else None,
        {step: count / len(seen) for step, count in sorted(steps.items())},
    )


def _accepted(detection: Detection, params: CropParams) -> tuple[Face, ...]:
    cuts = plan_crop(detection, replace(params, face="all")).cuts
    return tuple(cut.face for cut in cuts if cut.face)


def _is_choice_true(seen: Seen, params: CropParams, truth: Truth) -> bool:
    face = plan_crop(seen.detection, params).cuts[0].face
    return face is not None and _is_true(face, truth[seen.name])


def _is_true(face: Face, boxes: Sequence[Box]) -> bool:
    return any(face.box.iou(box) >= TRUE_IOU for box in boxes)


def _by_size(boxes: Sequence[tuple[Box, bool]]) -> dict[str, float]:
    recalls = {}
    for low, high in zip(SIZES_PX, (*SIZES_PX[1:], 100_000), strict=True):
        within = [found for box, found in boxes if low <= min(box.width, box.height) < high]
        if within:
            recalls[f"{low}+ ({len(within)})"] = _mean(within)
    return recalls


def _mean(values: Iterable[float]) -> float:
    return float(statistics.fmean(values))


def format_table(rows: Sequence[Figures]) -> str:
    """Return the rows as two Markdown tables."""
    lines = [
        "| way | found | largest | confident | recall | false faces | false pictures | ms | "
        "ms, no face | last step |",
        "|---|" + "---:|" * 8 + "---|",
    ]
    for row in rows:
        shares = (row.found, row.chosen_largest, row.chosen_confident, row.recall)
        cells = [row.way, *(f"{100 * share:.0f} %" for share in shares)]
        cells += ["" if row.false_faces is None else f"{row.false_faces:.2f}"]
        cells += ["" if row.false_pictures is None else f"{100 * row.false_pictures:.1f} %"]
        cells += [f"{row.milliseconds:.1f}"]
        cells += ["" if row.milliseconds_faceless is None else f"{row.milliseconds_faceless:.1f}"]
        cells += [", ".join(f"{step} {100 * share:.0f} %" for step, share in row.steps.items())]
        lines.append("| " + " | ".join(cells) + " |")
    sizes = rows[0].recall_by_px
    lines += ["", "Recall by the true box's shorter side in px (how many there are):", ""]
    lines += ["| way | " + " | ".join(sizes) + " |", "|---|" + "---:|" * len(sizes)]
    for row in rows:
        shares_by_size = (f"{100 * share:.0f} %" for share in row.recall_by_px.values())
        lines.append(f"| {row.way} | " + " | ".join(shares_by_size) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
