"""The forms of what a server answers beside predictions, and how pictures become part of them."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.roi.image import Image

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom; pixels of the upright picture."""


@dataclass(frozen=True, slots=True)
class RefusalDetail:
    """Why a request was not answered, and what to do."""

    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """That the server answers, and what waits in it."""

    status: str
    model: str
    version: str
    waiting: int
    """Pictures accepted and not yet answered."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the server answers with, and what it takes."""

    name: str
    version: str
    labels: tuple[str, ...]
    target: str
    """The class that is looked for."""
    threshold: float | None
    """Probability of ``target`` from which it is the answer; None: three classes or more."""
    abstain: float
    """Half the width of the band round the threshold in which an answer is unsure."""
    reasons: dict[str, str]
    """Why a full frame is looked at, in words."""
    max_bytes: int
    max_pixels: int
    max_pictures: int
    keeps_pictures: bool
    """Whether pictures sent here are kept."""
    runtime: str
    """What computes: ``onnx`` (ONNX Runtime) or ``torch``."""


@dataclass(frozen=True, slots=True)
class CropSeen:
    """A crop that the model looked at."""

    view: int
    """Which of the model's views it is, from 0."""
    png: str
    """The very pixels, as base64 of a PNG."""
    region: Corners
    """Where it was cut; may reach beyond the picture."""
    angle: float
    """By which the region is turned about its centre, clockwise, degrees."""
    is_face: bool


@dataclass(frozen=True, slots=True)
class Look:
    """A prediction with what was looked at."""

    prediction: Prediction
    sha256: str
    """Of the picture's bytes, in hex."""
    width: int | None
    """Of the upright picture, pixels; None: it cannot be read."""
    height: int | None
    crops: tuple[CropSeen, ...]


@dataclass(frozen=True, slots=True)
class HeatSeen:
    """Where in a crop the model saw what speaks for a class."""

    view: int
    png: str
    """The crop with the heat on it, as base64 of a PNG."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A prediction with the heat that speaks for one class."""

    prediction: Prediction
    label: str
    """The class that is explained."""
    frame_png: str
    """The picture with the heat in its place, 1024 px at most, as base64 of a PNG."""
    heats: tuple[HeatSeen, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A verdict and the label that is right instead."""

    name: str
    """What the picture is called; for people."""
    sha256: str
    """Of the picture's bytes, in hex."""
    answer: str
    """The model's label."""
    label: str
    """The right one."""
    probability: float
    """That the model gave its answer."""


def to_png(image: Image) -> bytes:
    """Return (height, width, 3) RGB as a PNG, quickly made rather than small."""
    encoded = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return encoded.tobytes()


def to_text(png: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(png).decode("ascii")
