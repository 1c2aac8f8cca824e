"""How well, and at what cost, each way of looking finds the faces of a folder of pictures.

    python -m benchmarks.crops.detection FOLDER [boxes.json] [--faceless FOLDER]
        [--portraits FOLDER]... [--json FILE]

boxes.json (default FOLDER/boxes.json) has the true boxes of each picture, by its file name:
{"a.jpg": [[left, top, right, bottom], ...], ...}. A face is true where IoU with one is 0.4 or more.
Every way sees a picture before the next picture is taken, so all share what the machine does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2

from roi_cls.classifier.metrics.interval import Estimate, wilson
from roi_cls.roi.detection.detector import NetworkDetector
from roi_cls.roi.detection.faces import best_first
from roi_cls.roi.detection.glimpse import glimpse_scaled
from roi_cls.roi.detection.models import resolve_models
from roi_cls.roi.detection.yunet import YuNet
from roi_cls.roi.face import Box, Detection, Face
from roi_cls.roi.image import read_bytes
from roi_cls.roi.params import CropParams
from roi_cls.roi.picture import Picture
from roi_cls.roi.plan import plan_crop

CROWDS = ("mediapipe, --face all", "auto, --face all")
"""Ways that go through every step; not for portraits, of which there are many."""
TRUE_IOU = 0.4
SCORES = (0.5, 0.6, 0.7, 0.8)
LOW_SCORE = 0.2
"""Of networks alone, so that one look serves several thresholds."""
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
    chosen_largest: Estimate
    """Pictures where the face of ``--face largest`` is true."""
    recall: float
    """True boxes that were found."""
    recall_by_px: dict[str, float]
    false_faces: float | None
    """Accepted faces per face-free picture."""
    false_pictures: Estimate | None
    """Face-free pictures with an accepted face."""
    portraits: Estimate | None
    """Portraits in which a face is accepted."""
    milliseconds: float
    """Mean per picture with faces, decoding included."""
    milliseconds_faceless: float | None
    milliseconds_portraits: float | None
    steps: dict[str, float]
    """Pictures with faces for which each step was the last; one that came last ran all before."""


def main() -> None:
    """Measure, print the table, and write it as JSON where that is asked for."""
    cv2.setNumThreads(1)  # a core, as in a worker process
    arguments = _parse(sys.argv[1:])
    truth = read_boxes(arguments.boxes or arguments.folder / "boxes.json")
    folders = {
        "faces": [arguments.folder / name for name in truth],
        "faceless": _list_pictures(arguments.faceless),
        "portraits": [path for folder in arguments.portraits for path in _list_pictures(folder)],
    }
    with ExitStack() as stack:
        ways = dict(_ways(stack, arguments.min_face))
        detectors = {way: detector for way, (detector, _) in ways.items()}
        of_one = {way: detector for way, detector in detectors.items() if way not in CROWDS}
        seen = {
            name: look_at(of_one if name == "portraits" else detectors, paths)
            for name, paths in folders.items()
        }
    rows = [
        judge(
            f"{way}, score {score:g}",
            replace(params, min_score=score),
            truth,
            *(seen[name].get(way, ()) for name in folders),
        )
        for way, (_, params) in ways.items()
        for score in ((params.min_score,) if params.detector in ("mediapipe", "auto") else SCORES)
    ]
    print(format_table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how well faces are found.")
    parser.add_argument("folder", type=Path, help="pictures with faces")
    parser.add_argument("boxes", nargs="?", type=Path, help="true boxes; default FOLDER/boxes.json")
    parser.add_argument("--faceless", type=Path, help="folder of pictures without a face")
    parser.add_argument(
        "--portraits", type=Path, action="append", default=[], help="folder of one face a picture"
    )
    parser.add_argument("--min-face", type=int, default=CropParams().min_face_px, help="pixels")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    return parser.parse_args(words)


class YunetAlone:
    """YuNet on the frame, its longer side scaled, each score taken at its word."""

    def __init__(self, network: YuNet, side_px: int) -> None:
        self._network, self._side_px = network, side_px

    def detect(self, picture: Picture) -> Detection:
        """Return all faces seen, best first."""
        glimpse = glimpse_scaled(picture, self._side_px)
        faces = (glimpse.place(face) for face in self._network.see(glimpse.image))
        return Detection(picture.height, picture.width, best_first(faces), "yunet")


def _ways(stack: ExitStack, min_face: int) -> Iterable[tuple[str, tuple[_Detects, CropParams]]]:
    def open_detector(params: CropParams, min_score: float) -> NetworkDetector:
        models = resolve_models(params.detector)
        return stack.enter_context(NetworkDetector(models, replace(params, min_score=min_score)))

    params = CropParams(min_face_px=min_face)
    for kind in ("short", "full"):
        of_kind = replace(params, detector=kind)
        yield kind, (open_detector(of_kind, LOW_SCORE), of_kind)
    yunet = stack.enter_context(YuNet(resolve_models("auto")[-1], LOW_SCORE))
    for side_px in (320, 640):
        yield (
            f"YuNet at {side_px} px",
            (YunetAlone(yunet, side_px), replace(params, detector="full")),
        )
    for searched in (
        replace(params, detector="mediapipe"),
        params,
        replace(params, detector="mediapipe", face="all"),
        replace(params, face="all"),
    ):
        way = searched.detector + ", --face all" * searched.wants_all_faces
        yield way, (open_detector(searched, params.min_score), searched)


def _list_pictures(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def read_boxes(path: Path) -> Truth:
    """Return the true boxes by file name."""
    boxes = json.loads(path.read_text())
    return {name: [Box(*map(float, box)) for box in found] for name, found in boxes.items()}


def look_at(ways: Mapping[str, _Detects], paths: Iterable[Path]) -> dict[str, list[Seen]]:
    """Return what each way sees in each file, and the time with reading and decoding."""
    seen: dict[str, list[Seen]] = {way: [] for way in ways}
    for i, path in enumerate(paths):
        print(f"\r{path.parent.name} {i + 1}", end="", file=sys.stderr, flush=True)
        for way, detector in ways.items():
            times = []
            for _ in range(1 if i else 2):  # the first time loads the networks
                start = time.perf_counter()
                detection = detector.detect(Picture(read_bytes(path), path))
                times.append(1e3 * (time.perf_counter() - start))
            seen[way].append(Seen(path.name, detection, times[-1]))
    print(file=sys.stderr)
    return seen


def judge(
    way: str,
    params: CropParams,
    truth: Truth,
    seen: Sequence[Seen],
    empty: Sequence[Seen],
    portraits: Sequence[Seen],
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
    found = [
        any(_is_true(f, truth[s.name]) for f in a) for s, a in zip(seen, accepted, strict=True)
    ]
    chosen = [_is_choice_true(s, replace(params, face="largest"), truth) for s in seen]
    with_face = [bool(_accepted(s.detection, params)) for s in portraits]
    return Figures(
        way,
        _mean(found),
        wilson(sum(chosen), len(chosen)),
        _mean(found for _, found in boxes),
        _by_size(boxes),
        _mean(false) if empty else None,
        _share_of([count > 0 for count in false]),
        _share_of(with_face),
        _mean(s.milliseconds for s in seen),
        _mean(s.milliseconds for s in empty) if empty else None,
        _mean(s.milliseconds for s in portraits) if portraits else None,
        {step: count / len(seen) for step, count in sorted(steps.items())},
    )


def _share_of(hits: Sequence[bool]) -> Estimate | None:
    """Return the share that is true, with its interval; of nothing, none."""
    return wilson(sum(hits), len(hits)) if hits else None


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
        "| way | a true face is cut | all true faces found | face-free with a face | false faces | "
        "portraits with a face | ms | ms, face-free | ms, portrait | last step |",
        "|---|" + "---:|" * 8 + "---|",
    ]
    for row in rows:
        cells = [
            row.way,
            _share(row.chosen_largest),
            f"{100 * row.recall:.1f} %",
            _share(row.false_pictures),
            _number(row.false_faces, 2),
            _share(row.portraits),
            *(
                _number(milliseconds, 1)
                for milliseconds in (
                    row.milliseconds,
                    row.milliseconds_faceless,
                    row.milliseconds_portraits,
                )
            ),
            ", ".join(f"{step} {100 * share:.0f} %" for step, share in row.steps.items()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    sizes = rows[0].recall_by_px
    lines += ["", "Recall by the true box's shorter side in px (how many there are):", ""]
    lines += ["| way | " + " | ".join(sizes) + " |", "|---|" + "---:|" * len(sizes)]
    for row in rows:
        shares_by_size = (f"{100 * share:.0f} %" for share in row.recall_by_px.values())
        lines.append(f"| {row.way} | " + " | ".join(shares_by_size) + " |")
    return "\n".join(lines)


def _share(share: Estimate | None) -> str:
    if share is None:
        return ""
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
