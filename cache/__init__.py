"""Crops on disk, keyed by content. Knows pixels and recipes, never labels.

For other packages: `build`, `builder`, `database`, `index`, `manifest`, `options`, `record`,
`upkeep`.
"""

from roi_cls.cache.record import CropRecord, CropResult

__all__ = ["CropRecord", "CropResult"]
