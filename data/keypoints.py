"""Where the keypoints of a cropped face lie in its crop. Geometry only: no pixel, no label."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from roi_cls.cache import CropRecord
from roi_cls.roi.face import KEYPOINT_NAMES, Box


def crop_keypoints(record: CropRecord) -> NDArray[np.float32]:
    """Return the face's keypoints as (6, 2) x and y in pixels of the crop, in the detector's order.

    The first pixel reaches from 0 to 1, as in boxes. Points may lie outside the crop. All are NaN
    where no face was cut, or by a detector that gives other keypoints.

    Args:
        record: An ok row; of several faces, its own is meant.
    """
    count = len(KEYPOINT_NAMES)
    points = record.keypoints or ()
    if len(points) != count or record.region is None or record.size_px is None:
        return np.full((count, 2), np.nan, np.float32)
    region = Box(*record.region)
    turn = math.radians(record.angle)
    cos, sin = math.cos(turn), math.sin(turn)
    from_center = np.asarray(points, np.float64) - region.center
    levelled = from_center @ np.array([[cos, -sin], [sin, cos]])  # turned back, anticlockwise
    side = np.array([region.width, region.height])
    in_crop: NDArray[np.float64] = (levelled / side + 0.5) * record.size_px
    return in_crop.astype(np.float32)
