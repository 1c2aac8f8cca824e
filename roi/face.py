"""What a detector says about one picture: boxes, faces, a detection. Knows no crop and no file.

Boxes are in pixels of the picture, x before y.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

KEYPOINT_NAMES = (
    "right_eye",
    "left_eye",
    "nose_tip",
    "mouth_center",
    "right_ear_tragion",
    "left_ear_tragion",
)
"""BlazeFace's six keypoints in its order; right and left are the person's own."""

Step = Literal["short", "full", "tiles", "yunet", "turned"]
"""What was looked at last: short range in the whole frame, full range in it, both in tiles; YuNet,
its faces looked at again by full range; short range in the frame turned."""
_EYES_TO_MOUTH = 0.1
"""What the line from the eyes to the mouth counts beside the one through the eyes, see ``roll``."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright picture; right and bottom are exclusive.

    A box may reach beyond the picture.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.xyxy)):
            raise ValueError(f"Box must be finite, got {self.xyxy}")
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError(f"Box must have positive area, got {self.xyxy}")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels."""
        return (self.left, self.top, self.right, self.bottom)

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Area in square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """Centre as (x, y) in pixels."""
        return ((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    def expand(self, margin: float) -> Box:
        """Return the box grown on every side by ``margin`` times its own width and height."""
        dx, dy = margin * self.width, margin * self.height
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)

    def square(self) -> Box:
        """Return the smallest square that holds the box and has the same centre."""
        x, y = self.center
        half = max(self.width, self.height) / 2
        return Box(x - half, y - half, x + half, y + half)

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies in the box."""
        return self.left <= x < self.right and self.top <= y < self.bottom

    def shared_area(self, other: Box) -> float:
        """Return the area of the intersection with ``other``, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: Box) -> float:
        """Return intersection over union with ``other``, 0 to 1."""
        both = self.shared_area(other)
        return both / (self.area + other.area - both)


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
    """Which network saw it: ``short``, ``full``, ``yunet``, or ``custom``: the user's own."""

    @property
    def roll(self) -> float | None:
        """By how much the head is tilted in the picture: degrees clockwise, above -180 to 180.

        0: upright; 90: the forehead points to the right; 180: upside down. The mean of what the
        line through the eyes says and what the line from them to the mouth says, each weighted by
        the square of its length, as the variance of a line's angle falls with it. The second one
        leans by 10 to 16 degrees where a head is turned aside (measured on portraits), so it counts
        a tenth; in profile, where the eyes meet, it decides.

        None: the keypoints do not tell.
        """
        if len(self.keypoints) < 4:  # a detector of the user's may give others
            return None
        right_eye, left_eye, _, mouth = (complex(x, y) for x, y in self.keypoints[:4])
        across = left_eye - right_eye
        down = mouth - (right_eye + left_eye) / 2
        # In an upright face, a quarter turn back brings the way down onto the way across.
        level = across * abs(across) + _EYES_TO_MOUTH * down / 1j * abs(down)
        if not level:
            return None
        roll = math.degrees(cmath.phase(level))
        return 180.0 if roll == -180 else roll


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
    damaged: str | None = None
    """Why the picture was read in part; None: it is whole."""
    color_profile: str | None = None
    """The colour profile that was applied, or ``ignored:`` and why; None: it is sRGB."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back exactly."""
        return {
            "height": self.height,
            "width": self.width,
            "step": self.step,
            "damaged": self.damaged,
            "color_profile": self.color_profile,
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
        damaged, profile = values["damaged"], values["color_profile"]
        if not (isinstance(damaged, str | None) and isinstance(profile, str | None)):
            raise TypeError(f"remarks must be text or null, got {damaged!r} and {profile!r}")
        return cls(int(values["height"]), int(values["width"]), faces, step, damaged, profile)
