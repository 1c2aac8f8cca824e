"""One truthful row per picture: what was cut out of it, or why nothing was."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from roi_cls.roi import CropParams, CropPlan, Detection

Status = Literal["ok", "error"]


@dataclass(frozen=True, slots=True)
class CropRecord:
    """What happened to one picture. Coordinates are pixels of the upright picture."""

    path: Path
    status: Status
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
    """Why the full frame took the face's place: ``no_face``, ``low_score`` or ``too_small``."""
    box: tuple[float, float, float, float] | None = None
    """The face, as left, top, right, bottom."""
    face_score: float | None = None
    """Of the face that was cut, else of the best one seen."""
    faces: int = 0
    """How many faces met the recipe's thresholds."""
    keypoints: tuple[tuple[float, float], ...] | None = None
    """(x, y) of the face's eyes, nose tip, mouth centre and ears."""
    region: tuple[float, float, float, float] | None = None
    """What was cut, before its rotation; may reach beyond the picture."""
    angle: float = 0.0
    """Clockwise rotation of the region about its centre, degrees."""
    recipe: str | None = None
    """Digest of the crop recipe."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "path": str(self.path)}


def ok_record(
    path: Path, sha256: str, detection: Detection, plan: CropPlan, params: CropParams
) -> CropRecord:
    """Return the row of a picture that was cropped as ``plan`` says."""
    return CropRecord(
        path=path,
        status="ok",
        sha256=sha256,
        height=detection.height,
        width=detection.width,
        source=plan.source,
        reason=plan.reason,
        box=plan.face.box.xyxy if plan.face else None,
        face_score=plan.best_score,
        faces=plan.faces,
        keypoints=plan.face.keypoints if plan.face else None,
        region=plan.region.xyxy,
        angle=plan.angle,
        recipe=params.digest,
    )


@dataclass(frozen=True, slots=True)
class CropResult:
    """A row, and what work this call really did for it."""

    record: CropRecord
    detected: bool = False
    """The detector ran."""
    cropped: bool = False
    """A crop was cut and written."""
