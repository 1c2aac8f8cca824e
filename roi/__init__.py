"""Picture to faces to one crop. Knows no label and writes no file but the detector's models.

The names here are light; what needs numpy, cv2 or mediapipe is imported from its module, so that
the command line starts at once.

For other packages: `crop`, `face`, `image`, `image_header`, `models`, `params`, `picture`,
`recipe`.
"""

from roi_cls.roi.face import KEYPOINT_NAMES, Box, Detection, Face
from roi_cls.roi.params import CropParams
from roi_cls.roi.plan import REASON_TEXT, CropPlan, CropSource, Cut, plan_crop

__all__ = [
    "KEYPOINT_NAMES",
    "REASON_TEXT",
    "Box",
    "CropParams",
    "CropPlan",
    "CropSource",
    "Cut",
    "Detection",
    "Face",
    "plan_crop",
]
