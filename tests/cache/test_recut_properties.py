"""Whatever the picture and the recipe, a crop is cut again from its row alone, bit for bit."""

import io
import json
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from roi_cls.base.closing import Closing
from roi_cls.cache.builder import CropBuilder, recut
from roi_cls.cache.record import CropRecord
from roi_cls.cache.store import CropStore
from roi_cls.roi import Box, CropParams, Detection, Face
from roi_cls.roi.picture import Picture

# No deadline: every example writes files, on a machine that does other work, too.
KEEP_FOLDER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class TwoFaces(Closing):
    """Sees two tilted faces in every picture, at odd places."""

    def detect(self, picture: Picture) -> Detection:
        """Return them."""
        width, height = picture.width, picture.height
        faces = []
        for share_x, share_y, share, tilt in ((0.31, 0.42, 0.5, 0.1), (0.77, 0.63, 0.33, -0.2)):
            half = share * min(width, height) / 2
            x, y = share_x * width, share_y * height
            eyes = ((x - half / 2, y - half * tilt), (x + half / 2, y + half * tilt))
            box = Box(x - half, y - half, x + half * 0.9, y + half)
            faces.append(Face(box, 0.7 + share / 10, eyes * 3, "full"))
        return Detection(height, width, tuple(faces), "full")

    def close(self) -> None:
        """Do nothing."""


def encode(height: int, width: int, kind: str, orientation: int) -> bytes:
    coarse = np.random.default_rng(height * width).integers(0, 256, (7, 9, 3), np.uint8)
    exif = PillowImage.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    PillowImage.fromarray(coarse).resize((width, height)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


RECIPES = st.builds(
    CropParams,
    crop=st.sampled_from(["face", "face", "full"]),
    face=st.sampled_from(["largest", "central", "all"]),
    margin=st.sampled_from([0.0, 0.3, 1.1]),
    align=st.booleans(),
    size_px=st.sampled_from([8, 21, 64]),
    min_face_px=st.just(0),
    min_score=st.sampled_from([0.5, 0.99]),
    fallback=st.sampled_from(["full", "center"]),
    full_frame=st.sampled_from(["pad", "crop", "squash"]),
    border=st.sampled_from(["replicate", "constant", "shift"]),
    resampling=st.sampled_from(["area", "lanczos"]),
)


@KEEP_FOLDER
@given(
    st.tuples(st.integers(20, 300), st.integers(20, 300)),
    st.sampled_from(["PNG", "JPEG"]),
    st.integers(1, 8),
    RECIPES,
)
def test_crop_cut_again_from_its_row_is_the_stored_one(
    tmp_path: Path, size: tuple[int, int], kind: str, orientation: int, params: CropParams
) -> None:
    path = tmp_path / "a"
    path.write_bytes(encode(*size, kind, orientation))
    store = CropStore(tmp_path / "cache", params)
    with CropBuilder(store, params, TwoFaces) as builder:
        row = builder.build(path).record
    assert row.sha256
    stored = store.read_crop(row.sha256)
    assert stored is not None
    again = CropRecord.from_dict(path, json.loads(json.dumps(row.to_dict())))
    assert np.array_equal(recut(again), stored)
    assert len(stored) == (2 if params.face == "all" and row.source == "face" else 1)
