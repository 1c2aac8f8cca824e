"""The crop recipe as a value: every setting that changes a pixel of a crop, and nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from roi_cls.base.errors import BundleError

RECIPE_VERSION = 3
"""Raised whenever the code derives other pixels from the same parameters.

2: pictures are reduced by whole factors first. 3: YuNet beside MediaPipe, faces as they are turned,
regions limited by the frame, colours brought to sRGB, JPEGs read strictly, PNGs by another decoder.
"""

CropKind = Literal["face", "full"]
DetectorKind = Literal["short", "full", "mediapipe", "auto"]
FaceChoice = Literal["largest", "confident", "central", "all"]
Fallback = Literal["full", "center", "skip", "error"]
FullFrame = Literal["pad", "crop", "squash"]
Border = Literal["replicate", "constant", "shift"]
Resampling = Literal["area", "lanczos"]
ColorChoice = Literal["srgb", "stored"]
Damaged = Literal["error", "read"]
_CHOICES = {
    "crop": CropKind,
    "detector": DetectorKind,
    "face": FaceChoice,
    "fallback": Fallback,
    "full_frame": FullFrame,
    "border": Border,
    "resampling": Resampling,
    "color": ColorChoice,
    "damaged": Damaged,
}


@dataclass(frozen=True, slots=True)
class CropParams:
    """How a crop is cut. Its digest names it, in the cache and in a model's bundle."""

    crop: CropKind = "face"
    """What is cut: the ``face`` where there is one, or always the ``full`` picture, undetected."""
    detector: DetectorKind = "auto"
    """Who looks for faces: ``short`` sees those near by, ``full`` those further off; ``mediapipe``
    asks both in turn, then on tiles; ``auto`` asks YuNet, too."""
    detector_sha256: tuple[str, ...] = ()
    """SHA-256 of the detector's model files, in the order they are asked; empty: not resolved."""
    min_score: float = 0.5
    """Detector confidence from which a face counts, 0 to 1."""
    min_face_px: int = 12
    """Shorter side of the face box from which a face counts, in pixels of the picture."""
    face: FaceChoice = "largest"
    """Which face is cut when several count; ``all``: a crop of each."""
    margin: float = 0.1
    """Share of the face box added on every side, before it is made square."""
    align: bool = False
    """Turn the head upright: the eyes level, the forehead up."""
    size_px: int = 224
    """Side of the square crop, in pixels."""
    fallback: Fallback = "full"
    """In place of a face: the ``full`` frame, its ``center``, a ``skip`` or an ``error`` row."""
    full_frame: FullFrame = "pad"
    """How a whole picture is made square: ``pad`` it, ``crop`` its centre, or ``squash`` it."""
    border: Border = "shift"
    """Where the square leaves the picture: limit its margin and ``shift`` it inside; or leave it
    there and ``replicate`` the edge, or fill with ``constant`` grey."""
    resampling: Resampling = "area"
    """``area``: mean when shrinking, cubic when enlarging; ``lanczos``: slower, sharper."""
    color: ColorChoice = "srgb"
    """Colours are brought to ``srgb`` by the profile in the file, or their numbers taken as
    ``stored``."""
    damaged: Damaged = "error"
    """A picture that is cut off or damaged is in ``error``, or what can be of it is ``read`` and
    its row marked."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ValueError(f"{name} must be one of {get_args(choices)}, got {value!r}")
        self._fix_types()
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be between 0 and 1, got {self.min_score}")
        if self.min_face_px < 0:
            raise ValueError(f"min_face_px must not be negative, got {self.min_face_px}")
        if not 0 <= self.margin <= 5:
            raise ValueError(f"margin must be between 0 and 5, got {self.margin}")
        if not 8 <= self.size_px <= 4096:
            raise ValueError(f"size_px must be between 8 and 4096, got {self.size_px}")

    def _fix_types(self) -> None:
        """Give one value one digest, whether it was given as 0 or 0.0, as a list or a tuple."""
        if isinstance(self.detector_sha256, str):
            raise ValueError(f"detector_sha256 must be a list, got {self.detector_sha256!r}")
        object.__setattr__(self, "detector_sha256", tuple(map(str, self.detector_sha256)))
        for name in ("min_score", "margin"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, kind in {"min_face_px": int, "size_px": int, "align": bool}.items():
            if type(getattr(self, name)) is not kind:
                raise ValueError(f"{name} must be {kind.__name__}, got {getattr(self, name)!r}")

    @property
    def wants_all_faces(self) -> bool:
        """Whether the detector must go on where it has found a face."""
        return self.detector in ("mediapipe", "auto") and self.face == "all"

    @property
    def digest(self) -> str:
        """Hex name of the recipe: equal for equal pixels, on every machine."""
        return _recipe_digest(self)

    @property
    def detector_digest(self) -> str:
        """Hex name of what decides a detection: two recipes that share it share detections."""
        return _detector_digest(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_dict`` reads them back."""
        return {"version": RECIPE_VERSION, **json.loads(json.dumps(asdict(self)))}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CropParams:
        """Return the recipe that ``to_dict`` wrote.

        Raises:
            BundleError: Unknown version, a missing or unknown field, or a value out of range.
        """
        if values.get("version") != RECIPE_VERSION:
            raise BundleError(
                f"Cannot use the crop recipe: it has version {values.get('version')!r}, this "
                f"roi-cls crops by version {RECIPE_VERSION}: it would show the model other pixels "
                "than those it was trained and judged on. Train again, or install the roi-cls "
                "that wrote it."
            )
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name != "version"}
        if given.keys() != known:
            odd = ", ".join(sorted(given.keys() ^ known))
            raise BundleError(
                f"Cannot use the crop recipe: its fields differ in {odd}. "
                "Install the roi-cls that wrote it."
            )
        try:
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise BundleError(
                f"Cannot use the crop recipe: {error}. The file was changed by hand; train again."
            ) from error


@functools.lru_cache(maxsize=256)  # asked once per picture, and a recipe does not change
def _recipe_digest(params: CropParams) -> str:
    return _digest({"version": RECIPE_VERSION, **asdict(params)})


@functools.lru_cache(maxsize=256)
def _detector_digest(params: CropParams) -> str:
    if params.crop == "full":
        values = {"crop": "full", "color": params.color, "damaged": params.damaged}
        return _digest({"version": RECIPE_VERSION, **values})
    names = ("detector", "detector_sha256", "min_score", "wants_all_faces", "color", "damaged")
    return _digest({"version": RECIPE_VERSION, **{n: getattr(params, n) for n in names}})


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
