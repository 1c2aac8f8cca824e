"""What one call did, counted row by row."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, get_args

from roi_cls.cache.record import CropResult
from roi_cls.roi.face import Step


@dataclass(slots=True)
class CropSummary:
    """Counts over one call; ``add`` takes each result."""

    images: int = 0
    errors: int = 0
    skipped: int = 0
    """Pictures without a face, where the recipe has no substitute."""
    detected: int = 0
    """Pictures on which the detector really ran."""
    cropped: int = 0
    """Pictures from which a crop was really cut."""
    reused: int = 0
    """Pictures for which the cache held everything."""
    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    """The last step the detector needed, now or when the picture was first seen."""
    started: float = field(default_factory=time.monotonic)

    def add(self, result: CropResult) -> None:
        """Count one result."""
        record = result.record
        self.images += 1
        self.errors += record.status == "error"
        self.skipped += record.status == "skipped"
        self.detected += result.detected
        self.cropped += result.cropped
        self.reused += record.status != "error" and not (result.detected or result.cropped)
        if record.source:
            self.sources[record.source] += 1
        if record.reason:
            self.reasons[record.reason] += 1
        if record.step:
            self.steps[record.step] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of ``roi-cls crops --json``."""
        seconds = time.monotonic() - self.started
        return {
            "images": self.images,
            "face": self.sources["face"],
            "full_frame": self.sources["full_frame"],
            "reasons": dict(sorted(self.reasons.items())),
            "errors": self.errors,
            "skipped": self.skipped,
            "steps": {step: self.steps[step] for step in get_args(Step) if self.steps[step]},
            "detected": self.detected,
            "cropped": self.cropped,
            "reused": self.reused,
            "seconds": round(seconds, 3),
            "images_per_second": round(self.images / seconds, 1) if seconds else 0.0,
        }
