"""What a detector says about one picture. Knows no crop and no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from roi_cls.roi.box import Box

KEYPOINT_NAMES = (
    "right_eye",
    "left_eye",
    "nose_tip",
    "mouth_center",
    "right_ear_tragion",
    "left_ear_tragion",
)
"""BlazeFace's six keypoints in its order; right and left are the person's own."""

Step = Literal["short", "full", "tiles"]
"""Short range on the whole frame, full range on it, both on tiles; ``auto`` takes them in turn."""


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face."""

    box: Box
    """Tight face box, pixels of the upright picture."""
    score: float
    """The detector's confidence, 0 to 1."""
    keypoints: tuple[tuple[float, float], ...]
    """(x, y) of each of ``KEYPOINT_NAMES``, pixels of the upright picture."""
    model: str
    """Which network saw it: ``short`` or ``full``."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Every face the detector saw in one picture, also those below the recipe's thresholds."""

    height: int
    """Of the upright picture, in pixels."""
    width: int
    """Of the upright picture, in pixels."""
    faces: tuple[Face, ...]
    """Most confident first."""
    step: Step | None = None
    """The last step that was needed; None: nothing was looked for, or by a model of the user's."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back exactly."""
        return {
            "height": self.height,
            "width": self.width,
            "step": self.step,
            "faces": [
                {
                    "box": list(face.box.xyxy),
                    "score": face.score,
                    "keypoints": [list(point) for point in face.keypoints],
                    "model": face.model,
                }
                for face in self.faces
            ],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Detection:
        """Return the detection that ``to_dict`` wrote.

        Raises:
            KeyError, TypeError, ValueError: The values are not of that form.
        """
        faces = tuple(
            Face(
                Box(*map(float, face["box"])),
                float(face["score"]),
                tuple((float(x), float(y)) for x, y in face["keypoints"]),
                str(face["model"]),
            )
            for face in values["faces"]
        )
        if (step := values["step"]) not in (None, *get_args(Step)):
            raise ValueError(f"step must be one of {get_args(Step)}, got {step!r}")
        return cls(int(values["height"]), int(values["width"]), faces, step)
