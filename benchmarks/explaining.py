"""Do heat maps point at the defect? Measured where the place of each defect is known.

.venv/bin/python -m benchmarks.explaining artifacts/demo artifacts/runs/demo

A demo picture can be drawn with and without its defect; where the two differ is the defect. Asked
are the test pictures whose defect the run found on a face.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from roi_cls.classifier.explanation.explain import Explainer, ExplainMethod, Explanation
from roi_cls.classifier.inference.prediction import Source
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.data.demo.draw import DemoParams, DemoPicture, plan_demo
from roi_cls.data.demo.picture import draw_picture
from roi_cls.roi.crop import cut_crops
from roi_cls.roi.picture import Picture

CHANGED = 24
"""Grey levels by which a pixel differs where the defect is: noise and blur are equal in both."""
NEAR = 1 / 24
"""How far beside the defect a peak still counts as on it, as a share of the crop's side."""
LEAST_PX = 20
"""Pixels of the crop that a defect must cover: less is hidden by hair, or outside."""


@dataclass(frozen=True)
class Aim:
    """How well one heat map points at the defect."""

    hits: bool
    """Whether its peak lies on the defect."""
    share: float
    """Of the heat that lies on the defect."""
    area: float
    """Share of the crop that the defect covers: what the share would be by chance."""
    near: float
    """The same with what counts as on it: how often a random peak would hit."""


def aim_at(explanation: Explanation, predictor: Predictor, picture: DemoPicture) -> Aim | None:
    """Return how the heat lies to the defect; None: the defect is not to be seen in the crop."""
    heat = explanation.heats[predictor.shown]
    with_defect = draw_picture(0, picture.index, picture.kind).astype(int)
    without = draw_picture(0, picture.index, None).astype(int)
    changed = np.abs(with_defect - without).max(axis=2) > CHANGED
    drawn = Picture.of(np.repeat(changed[..., None].astype(np.uint8) * 255, 3, axis=2))
    view = predictor.scorer.views[predictor.shown]
    defect: NDArray[np.bool_] = cut_crops(drawn, [heat.cut], view)[0, ..., 0] > 127
    if defect.sum() < LEAST_PX or not heat.heat.any():
        return None
    reach = 2 * round(NEAR * len(defect)) + 1
    near = cv2.dilate(defect.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    peak = np.unravel_index(int(heat.heat.argmax()), heat.heat.shape)
    share = float(heat.heat[defect].sum() / heat.heat.sum())
    return Aim(bool(near[peak]), share, float(defect.mean()), float(near.mean()))


def explain_found(
    data: Path, predictor: Predictor, method: ExplainMethod, most: int
) -> Iterator[Aim]:
    """Yield the aim of each defect that the run finds on a face, up to ``most`` of them."""
    explainer = Explainer(predictor, method)
    target = predictor.bundle.labels.target
    for picture in plan_demo(DemoParams()):
        if picture.part != "test" or picture.kind is None or not most:
            continue
        explanation = explainer.explain(Source(str(data / picture.name)))
        found = explanation.looked.prediction
        if found.label == target and found.source == "face":
            aim = aim_at(explanation, predictor, picture)
            if aim:
                most -= 1
                yield aim


def main() -> None:
    """Print a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the demo set, drawn with seed 0")
    parser.add_argument("run", type=Path)
    parser.add_argument("--most", type=int, default=100, help="pictures for each method")
    options = parser.parse_args()
    print("method       found  peak on the defect (by chance)  heat there : its area, median")
    with open_predictor([options.run], "cpu") as predictor:
        for method in get_args(ExplainMethod):
            aims = list(explain_found(options.data, predictor, method, options.most))
            hits = np.mean([aim.hits for aim in aims])
            chance = np.mean([aim.near for aim in aims])
            ratio = np.median([aim.share / aim.area for aim in aims])
            print(f"{method:<12} {len(aims):>5}  {hits:>18.2f} ({chance:.2f}) {ratio:>24.1f}")


if __name__ == "__main__":
    main()
