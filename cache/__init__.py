"""Crops on disk, keyed by content. Knows pixels and recipes, never labels."""

from roi_cls.cache.record import CropRecord, CropResult

__all__ = ["CropRecord", "CropResult"]
