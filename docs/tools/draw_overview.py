"""Draw the README's picture from a finished demo run: frame, face, crop, answer.

.venv/bin/python -m docs.tools.draw_overview artifacts/demo artifacts/runs/demo OUTPUT.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from roi_cls.classifier.inference.prediction import Prediction, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.roi.crop import make_crops
from roi_cls.roi.image import read_bytes
from roi_cls.roi.picture import Picture
from roi_cls.roi.recipe import open_recipe

ROWS = 4
FRAME = (448, 314)  # width, height of a frame in the picture
GAP, TEXT_WIDTH = 24, 300
INK, PAPER, GREEN, RED, GREY = "#1f2933", "#ffffff", "#1a7f4b", "#c0392b", "#6b7785"


def choose(predictions: list[Prediction]) -> list[Prediction]:
    """Return an artefact that was found, a clean face, two faces, and a frame without a face."""
    wanted = (
        lambda p: p.label == "artefact" and p.faces == 1 and p.path.endswith("_0.png"),
        lambda p: p.label == "artefactless" and p.source == "face" and p.faces == 1,
        lambda p: p.label == "artefact" and p.faces == 2 and p.path.endswith("_0.png"),
        lambda p: p.source == "full_frame" and p.reason == "no_face",
    )
    return [next(p for p in predictions if is_wanted(p)) for is_wanted in wanted]


def draw_row(canvas: PillowImage.Image, top: int, prediction: Prediction, crop: np.ndarray) -> None:
    """Draw one picture's way from the frame to the answer."""
    pen = ImageDraw.Draw(canvas)
    frame = PillowImage.open(prediction.path).convert("RGB")
    scale = FRAME[0] / frame.width
    canvas.paste(frame.resize(FRAME, PillowImage.Resampling.LANCZOS), (GAP, top))
    if prediction.box:
        left, upper, right, lower = (value * scale for value in prediction.box)
        pen.rectangle((GAP + left, top + upper, GAP + right, top + lower), outline=GREEN, width=3)
    else:
        pen.rectangle((GAP, top, GAP + FRAME[0] - 1, top + FRAME[1] - 1), outline=GREY, width=3)
    crop_left = GAP + FRAME[0] + 3 * GAP
    side = FRAME[1] - 60
    crop_top = top + 30
    picture = PillowImage.fromarray(crop).resize((side, side), PillowImage.Resampling.LANCZOS)
    canvas.paste(picture, (crop_left, crop_top))
    middle = top + FRAME[1] // 2
    arrow(pen, GAP + FRAME[0] + GAP // 2, crop_left - GAP // 2, middle)
    text_left = crop_left + side + 3 * GAP
    arrow(pen, crop_left + side + GAP // 2, text_left - GAP // 2, middle)
    answer(pen, text_left, middle, prediction)


def arrow(pen: ImageDraw.ImageDraw, left: int, right: int, y: int) -> None:
    """Draw an arrow from left to right."""
    pen.line((left, y, right - 8, y), fill=INK, width=3)
    pen.polygon(((right, y), (right - 12, y - 7), (right - 12, y + 7)), fill=INK)


def answer(pen: ImageDraw.ImageDraw, left: int, middle: int, prediction: Prediction) -> None:
    """Write label, probability and what was looked at."""
    big, small = ImageFont.load_default(30), ImageFont.load_default(19)
    color = RED if prediction.label == "artefact" else GREEN
    pen.text((left, middle - 48), str(prediction.label), fill=color, font=big)
    pen.text((left, middle - 8), f"probability {prediction.score:.2f}", fill=INK, font=small)
    seen = "the face" if prediction.source == "face" else "the full frame:\nno face was found"
    others = f", the larger of {prediction.faces}" if prediction.faces > 1 else ""
    pen.text((left, middle + 20), f"looked at {seen}{others}", fill=GREY, font=small)


def main(demo: Path, run: Path, output: Path) -> None:
    """Predict the demo's test pictures, choose four, draw them."""
    paths = sorted((demo / "test").glob("*.png"))
    folder = RunFolder(run)
    with open_predictor([folder.path]) as predictor:
        chosen = choose(list(predictor.predict(Source(str(path)) for path in paths)))
        recipe = open_recipe(predictor.bundle.crop, None, (folder.detector,))
    with recipe.open_detector() as detector:
        pictures = [Picture(read_bytes(Path(p.path)), p.path) for p in chosen]
        crops = [make_crops(picture, recipe.params, detector).pixels[0] for picture in pictures]
    width = GAP + FRAME[0] + 3 * GAP + FRAME[1] - 60 + 3 * GAP + TEXT_WIDTH
    canvas = PillowImage.new("RGB", (width, GAP + ROWS * (FRAME[1] + GAP)), PAPER)
    for i, (prediction, crop) in enumerate(zip(chosen, crops, strict=True)):
        draw_row(canvas, GAP + i * (FRAME[1] + GAP), prediction, crop)
    canvas.save(output, quality=88)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
