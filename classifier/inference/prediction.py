"""What is asked of a model, picture by picture, and what it answers. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roi_cls.classifier.config import BATCH_SIZE, Aggregate
from roi_cls.roi.crop import Crops
from roi_cls.roi.image import Image
from roi_cls.roi.image_header import MAX_PIXELS
from roi_cls.roi.params import Damaged, FaceChoice


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a picture to predict comes from: a file, or what is at hand under a name."""

    path: str
    data: bytes | None = None
    """The encoded picture."""
    image: Image | None = None
    """The decoded, upright picture, (height, width, 3) RGB uint8; without it and ``data`` it is
    read from ``path``."""
    error: str | None = None
    """Why there is no picture: it becomes a row in error."""
    time_s: float | None = None
    """Of a frame of a video: seconds from its start."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one picture, or why there is none."""

    path: str
    status: str
    """``ok``, ``error``, or ``skipped``: no face, and the recipe has no substitute."""
    error: str | None = None
    label: str | None = None
    score: float | None = None
    """Probability of ``label``, 0 to 1."""
    probabilities: dict[str, float] | None = None
    """By class; they sum to 1."""
    unsure: bool = False  # decided by ``is_unsure`` of metrics/decision.py
    """Whether the answer is too close to the threshold to call."""
    source: str | None = None
    """What was looked at: ``face`` or ``full_frame``."""
    reason: str | None = None
    """Why the full frame: ``no_face``, ``low_score`` or ``too_small``."""
    box: tuple[float, float, float, float] | None = None
    """The face as left, top, right, bottom; pixels of the upright picture."""
    face_score: float | None = None
    """The detector's confidence in the face, or in the best one it refused."""
    faces: int = 0
    """How many faces met the recipe's thresholds."""
    per_face: tuple[dict[str, Any], ...] | None = None
    """With ``face = all``, each face's box, face_score, label, score, probabilities and roll."""
    time_s: float | None = None
    """Of a frame of a video: seconds from its start."""
    frames: int | None = None
    """Of a video as a whole: how many of its frames were scored."""
    threshold: float | None = None
    """Probability of the target from which it is the answer; null for more than two classes."""
    damaged: str | None = None
    """Why the picture is not whole: it was read in part, or is in error for it."""
    color_profile: str | None = None
    """The colour profile that was applied, or ``ignored:`` and why; null: it is sRGB."""
    roll: float | None = None
    """By which the face's head is tilted in the picture: degrees clockwise, above -180 to 180."""
    runtime: str | None = None
    """What computed the probabilities: ``onnx`` (ONNX Runtime) or ``torch``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls predict --json``."""
        return asdict(self)

    def overruled(self) -> str | None:
        """Return the class that ``threshold`` kept from being the answer, though more probable."""
        if not self.probabilities or self.threshold is None:
            return None
        likeliest = max(self.probabilities, key=self.probabilities.__getitem__)
        is_so = self.probabilities[likeliest] > self.probabilities[str(self.label)]
        return likeliest if is_so else None

    def of_each_face(self) -> Iterator[Prediction]:
        """Yield the answers of ``per_face`` as predictions of their own."""
        for face in self.per_face or ():
            yield Prediction(
                self.path,
                self.status,
                **face,
                source=self.source,
                faces=1,
                time_s=self.time_s,
                threshold=self.threshold,
                damaged=self.damaged,
                color_profile=self.color_profile,
                runtime=self.runtime,
            )


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A prediction with what was looked at."""

    prediction: Prediction
    views: tuple[Crops, ...] | None
    """The crops of each view, in the order of the model's; None where there are none."""


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How to predict."""

    batch_size: int = BATCH_SIZE
    """Pictures scored at once."""
    workers: int | None = 0
    """Processes that decode and detect; 0: this one; None: one per core if worth it."""
    max_pixels: int = MAX_PIXELS
    """Larger pictures are refused."""
    face: FaceChoice | None = None
    """Which face is looked at; None: the one that the model was trained on."""
    aggregate: Aggregate = "max"
    """How a picture's several faces become its answer: the face with the highest probability of
    the target, or the mean over faces."""
    threshold: float | None = None
    """Probability of the target from which it is the answer; None: the model's own."""
    abstain: float | None = None
    """Margin below which an answer is unsure; None: the model's own."""
    detector_model: Path | None = None
    """Where the detector's model files lie, if not with the model."""
    damaged: Damaged | None = None
    """What is done with a damaged picture; None: as in training."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")
        if self.abstain is not None and not 0 <= self.abstain < 1:
            raise ValueError(f"abstain must be from 0 to below 1, got {self.abstain}")
