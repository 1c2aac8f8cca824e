"""Why a model answers as it does: which places of what it looked at speak for a class.

Imports no torch itself: an exported model is explained without it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from roi_cls.base.errors import DataError
from roi_cls.classifier.config import Runtime
from roi_cls.classifier.explanation.heat import Effect, Heat, make_heat
from roi_cls.classifier.explanation.occlusion import occlude
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.classifier.inference.predictor import Predictor
from roi_cls.classifier.inference.scorer import EXPORTED_SUFFIX, Scorer
from roi_cls.data.sample import label_name, name_some
from roi_cls.roi.crop import Crops

ExplainMethod = Literal["grad-cam", "occlusion"]
ExplainedBy = Literal["grad-cam", "occlusion", "own-map"]
_OWN_MAPS = ("autoencoder", "evidence")
"""Kinds of network that answer by a map of places: it is shown, where gradients are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A prediction, and what speaks for one class."""

    looked: Looked
    label: str
    """The class that is explained."""
    heats: tuple[Heat, ...]
    """One for each view of the model, of the face that is shown; none where nothing was scored."""
    method: ExplainedBy
    """How it was found: models without gradients are explained by occlusion, whatever is asked."""


def runtime_for(models: Sequence[Path], method: ExplainMethod, wanted: Runtime) -> Runtime:
    """Return the runtime to open models with, for this method: gradients are torch's alone.

    models: of an exported file there is nothing to choose.
    """
    is_run = all(path.suffix.lower() != EXPORTED_SUFFIX for path in models)
    return "torch" if wanted == "auto" and method == "grad-cam" and is_run else wanted


class Explainer:
    """Explains a predictor's answers. Borrows the predictor; one picture at a time, any thread."""

    def __init__(self, predictor: Predictor, method: ExplainMethod = "grad-cam") -> None:
        """Choose the method; ``self.method`` tells which one is used."""
        self._predictor = predictor
        self._lock = threading.Lock()
        is_possible = method == "occlusion" or _has_gradients(predictor.scorer)
        self.method: ExplainedBy = method if is_possible else "occlusion"
        if self.method == "grad-cam" and predictor.bundle.network["kind"] in _OWN_MAPS:
            self.method = "own-map"

    def explain(self, source: Source, label: str | None = None) -> Explanation:
        """Return what speaks for a class of the picture; of one in error, its error row.

        Args:
            source: The picture.
            label: The class; None: the one looked for where there are two, else the answer.

        Raises:
            DataError: The model knows no such class.
        """
        label = None if label is None else label_name(label)
        self._check(label)
        with self._lock:
            (looked,) = self._predictor.judge([source])
            chosen = label or self._default_label(looked.prediction)
            if looked.prediction.status != "ok" or looked.views is None:
                return Explanation(looked, chosen, (), self.method)
            faces = [_shown_face(looked.prediction, view) for view in looked.views]
            pixels = [view.pixels[i : i + 1] for view, i in zip(looked.views, faces, strict=True)]
            method, effects = self._effects(pixels, self._predictor.bundle.labels.index(chosen))
        heats = (
            make_heat(number, view.pixels[i], view.plan.cuts[i], effect)
            for number, (view, i, effect) in enumerate(
                zip(looked.views, faces, effects, strict=True)
            )
        )
        return Explanation(looked, chosen, tuple(heats), method)

    def _effects(
        self, pixels: Sequence[NDArray[np.uint8]], index: int
    ) -> tuple[ExplainedBy, list[Effect]]:
        """Return the (S, S) effects of each view, and how they were found."""
        scorer = self._predictor.scorer
        if self.method != "occlusion":
            from roi_cls.classifier.explanation.grad_cam import grad_cam
            from roi_cls.classifier.inference.loaded import LoadedModel

            if isinstance(scorer, LoadedModel):
                effects = grad_cam(scorer, pixels, index)
                if effects is not None:
                    return self.method, effects
        return "occlusion", occlude(scorer, pixels, index, self._predictor.options.batch_size)

    def _check(self, label: str | None) -> None:
        names = self._predictor.bundle.labels.names
        if label is not None and label not in names:
            raise DataError(
                f"Cannot explain the class {label!r}: the model knows {name_some(names)}. "
                "Name one of these."
            )

    def _default_label(self, prediction: Prediction) -> str:
        labels = self._predictor.bundle.labels
        if len(labels.names) == 2 or prediction.label is None:
            return labels.target
        return prediction.label


def _has_gradients(scorer: Scorer) -> bool:
    # A run is loaded by this module; where it was never imported, torch is not to be either.
    if "roi_cls.classifier.inference.loaded" not in sys.modules:
        return False
    from roi_cls.classifier.explanation.grad_cam import has_gradients
    from roi_cls.classifier.inference.loaded import LoadedModel

    return isinstance(scorer, LoadedModel) and has_gradients(scorer)


def _shown_face(prediction: Prediction, crops: Crops) -> int:
    """Return which crop of a view shows the face that the prediction tells of."""
    boxes = [cut.face.box.xyxy if cut.face else None for cut in crops.plan.cuts]
    return boxes.index(prediction.box) if prediction.box in boxes else 0
