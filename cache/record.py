"""One truthful row per picture: what was cut out of it, or why nothing was.

And the stamp by which a picture's file is known again without being read.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

from roi_cls.base.location import is_remote, reaching
from roi_cls.roi import Box, CropParams, CropPlan, Cut, Detection, Face
from roi_cls.roi.archives.opening import find_place, look_at

SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago may change again within the same time stamp: not trusted."""
CropStatus = Literal["ok", "skipped", "error"]


@dataclass(frozen=True, slots=True)
class FaceCut:
    """A further face of a picture, where the recipe cuts all of them."""

    box: tuple[float, float, float, float]
    face_score: float
    keypoints: tuple[tuple[float, float], ...]
    model: str
    region: tuple[float, float, float, float]
    angle: float
    roll: float | None = None


@dataclass(frozen=True, slots=True)
class CropRecord:
    """What happened to one picture. Coordinates are pixels of the upright picture.

    An ok row says all that is needed to cut its crop again, bit for bit: see ``builder.recut``.
    """

    path: Path
    status: CropStatus
    """``skipped``: no face, and the recipe has no substitute for it."""
    error: str | None = None
    """Why there is no crop; None where there is one."""
    sha256: str | None = None
    """Of the file's bytes; None where they could not be read."""
    height: int | None = None
    """Of the upright picture, pixels."""
    width: int | None = None
    """Of the upright picture, pixels."""
    source: str | None = None
    """``face`` or ``full_frame``."""
    reason: str | None = None
    """Why no face was cut: ``no_face``, ``low_score`` or ``too_small``."""
    box: tuple[float, float, float, float] | None = None
    """The face, as left, top, right, bottom."""
    face_score: float | None = None
    """Of the face that was cut, else of the best one seen."""
    faces: int = 0
    """How many faces met the recipe's thresholds."""
    keypoints: tuple[tuple[float, float], ...] | None = None
    """(x, y) of the face's eyes, nose tip, mouth centre and ears."""
    model: str | None = None
    """Which network saw the face: ``short``, ``full``, ``yunet`` or ``custom``."""
    step: str | None = None
    """The detector's last step: ``short``, ``full``, ``tiles``, ``yunet`` or ``turned``."""
    region: tuple[float, float, float, float] | None = None
    """What was cut, before its rotation; may reach beyond the picture."""
    angle: float = 0.0
    """Clockwise rotation of the region about its centre, degrees."""
    more: tuple[FaceCut, ...] = ()
    """The other faces, where ``face`` is ``all``; the first is this row's own."""
    size_px: int | None = None
    """Side of the crop, pixels."""
    border: str | None = None
    """How the crop was filled where its region leaves the picture."""
    resampling: str | None = None
    """How the region was brought to the crop's size."""
    color: str | None = None
    """How its colours were taken: brought to ``srgb``, or as ``stored``."""
    color_profile: str | None = None
    """The colour profile that was applied, by its own name, or ``ignored:`` and why; None: the
    picture is sRGB, or says nothing of its colours."""
    recipe: str | None = None
    """Digest of the crop recipe."""
    damaged: str | None = None
    """Why the picture is not whole: it was read in part, or is in error for it."""
    roll: float | None = None
    """By which the head is tilted in the picture: degrees clockwise, above -180 to 180."""

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The regions that were cut, as they were planned."""
        if self.region is None:
            return ()
        if self.box is None or self.face_score is None:
            return (Cut(Box(*self.region), self.angle),)
        first = FaceCut(
            self.box,
            self.face_score,
            self.keypoints or (),
            self.model or "",
            self.region,
            self.angle,
        )
        return tuple(_as_cut(face) for face in (first, *self.more))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back."""
        values = {name: getattr(self, name) for name in RECORD_FIELDS}
        values["path"] = str(self.path)
        values["more"] = [
            {name: getattr(face, name) for name in _FACE_FIELDS} for face in self.more
        ]
        return values

    @classmethod
    def from_dict(cls, path: Path, values: dict[str, Any]) -> CropRecord:
        """Return the row that ``to_dict`` wrote, for the picture at ``path``.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        given = dict(values)
        given["path"] = path
        for name in ("box", "region"):
            if given[name] is not None:
                given[name] = tuple(given[name])
        if given["keypoints"] is not None:
            given["keypoints"] = _as_points(given["keypoints"])
        if given["more"]:
            given["more"] = tuple(
                FaceCut(
                    tuple(face["box"]),
                    face["face_score"],
                    _as_points(face["keypoints"]),
                    face["model"],
                    tuple(face["region"]),
                    face["angle"],
                    face["roll"],
                )
                for face in given["more"]
            )
        else:
            given["more"] = ()
        return cls(**given)


RECORD_FIELDS = tuple(field.name for field in fields(CropRecord))
_FACE_FIELDS = tuple(field.name for field in fields(FaceCut))


def ok_record(
    path: Path, sha256: str, detection: Detection, plan: CropPlan, params: CropParams
) -> CropRecord:
    """Return the row of a picture that was cropped as ``plan`` says, or skipped."""
    cut = plan.cuts[0] if plan.cuts else None
    face = cut.face if cut else None
    return CropRecord(
        path=path,
        status="ok" if cut else "skipped",
        sha256=sha256,
        height=detection.height,
        width=detection.width,
        source=plan.source,
        reason=plan.reason,
        box=face.box.xyxy if face else None,
        face_score=plan.best_score,
        faces=plan.faces,
        keypoints=face.keypoints if face else None,
        model=face.model if face else None,
        step=detection.step,
        region=cut.region.xyxy if cut else None,
        angle=cut.angle if cut else 0.0,
        more=tuple(_as_face_cut(other, other.face) for other in plan.cuts[1:] if other.face),
        size_px=params.size_px,
        border=params.border,
        resampling=params.resampling,
        color=params.color,
        color_profile=detection.color_profile,
        recipe=params.digest,
        damaged=detection.damaged,
        roll=face.roll if face else None,
    )


def _as_face_cut(cut: Cut, face: Face) -> FaceCut:
    box, region = face.box.xyxy, cut.region.xyxy
    return FaceCut(box, face.score, face.keypoints, face.model, region, cut.angle, face.roll)


def _as_cut(face: FaceCut) -> Cut:
    found = Face(Box(*face.box), face.face_score, face.keypoints, face.model)
    return Cut(Box(*face.region), face.angle, found)


def _as_points(points: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in points)


@dataclass(frozen=True, slots=True)
class CropResult:
    """A row, and what work this call really did for it."""

    record: CropRecord
    detected: bool = False
    """The detector ran."""
    cropped: bool = False
    """A crop was cut and written."""
    stamp: FileStamp | None = None
    """Of the file as it was read; None: not read, or it cannot be trusted to stay known."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and times of a file, as integers that SQLite can hold."""

    size: int
    mtime_ns: int
    ctime_ns: int
    """A file may be replaced by one of the same size and age: archives often do so."""


def read_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a file; None: there is none, or it is too new to be trusted.

    What lies in an archive has the stamp of the archive.
    """
    try:
        return _remote_stamp(path) if is_remote(path) else stamp_of(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        place = find_place(path)
        return _archive_stamp(place.archive) if place else None
    except (OSError, ValueError):  # ValueError: a null character in the path
        return None


def stamp_of(status: os.stat_result) -> FileStamp | None:
    """Return the stamp, None where the file's time is too new or in the future.

    To be called right after the file was read: later, it would look older than it was then.
    """
    # SQLite's integers have 64 bits; file systems know times before and after those.
    if not -(2**63) <= status.st_mtime_ns <= time.time_ns() - SETTLED_NS:
        return None
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _archive_stamp(archive: Path) -> FileStamp | None:
    if not is_remote(archive):
        return read_stamp(archive)
    # Not asked for again with each member.
    identity = look_at(archive)
    return FileStamp(0, _as_key(str(identity[0])), 0) if identity else None


def _remote_stamp(path: Path) -> FileStamp:
    # fsspec's key sums up what the store tells of an object: its ETag, or size and time.
    with reaching(path):
        remote = cast(Any, path)
        key = _as_key(str(remote.fs.ukey(remote.path)))
        return FileStamp(int(remote.fs.size(remote.path)), key, 0)


def _as_key(ukey: str) -> int:
    return int(ukey[:15], 16)
