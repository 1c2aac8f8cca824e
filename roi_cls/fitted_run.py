"""A finished run in the hands of Python code: opened when first asked, closed with its owner."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from roi_cls.base.closing import Closing
from roi_cls.classifier.config import Device
from roi_cls.classifier.inference.prediction import PredictOptions
from roi_cls.classifier.inference.predictor import Predictor, open_predictor
from roi_cls.run_home import KeptRun, TemporaryRun


class FittedRun(Closing):
    """Keeps one predictor of the run open, until it is asked for another or nobody holds it."""

    def __init__(self, home: KeptRun | TemporaryRun) -> None:
        self._home = home
        self._asked: object = None
        self._predictor: Predictor | None = None
        self._closer: weakref.finalize[..., FittedRun] | None = None

    @property
    def path(self) -> Path:
        """Folder of the run, or the exported file."""
        return self._home.path

    def predictor(self, device: Device, options: PredictOptions) -> Predictor:
        """Return the run's predictor; the same one for the same arguments.

        Raises:
            RoiClsError: The run cannot be used here.
        """
        if self._predictor is None or self._asked != (device, options):
            self.close()
            self._predictor = open_predictor([self.path], device, options=options)
            self._asked = device, options
            # An unclosed face detector prints an error when Python ends.
            self._closer = weakref.finalize(self, self._predictor.close)
        return self._predictor

    def close(self) -> None:
        """Free model and detectors; they are opened again when asked for."""
        if self._closer is not None:
            self._closer()
        self._predictor = self._closer = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a closed one."""
        return FittedRun, (self._home,)
