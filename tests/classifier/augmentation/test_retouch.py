"""Retouched patches keep their size and content; their texture or colours differ."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.classifier.augmentation import patch as retouch
from roi_cls.classifier.augmentation.patch import recolour, retexture
from roi_cls.roi.image import Image


@pytest.fixture(scope="module")
def patch() -> Image:
    """Soft shapes with a fine texture, 64 px square."""
    rng = np.random.default_rng(0)
    shapes = cv2.resize(rng.uniform(60, 200, (6, 6, 3)), (64, 64), interpolation=cv2.INTER_CUBIC)
    return np.clip(shapes + rng.normal(0, 8, (64, 64, 1)), 0, 255).astype(np.uint8)


def detail(image: Image) -> float:
    """Return how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


KINDS = {
    "_coarsen": "less",
    "_smear": "less",
    "_smooth": "less",
    "_compress": "less",
    "_sharpen": "more",
    "_grain": "more",
}


@pytest.mark.parametrize(("kind", "direction"), KINDS.items())
def test_each_kind_changes_detail_and_keeps_content(
    kind: str, direction: str, patch: Image
) -> None:
    for seed in range(5):
        changed = getattr(retouch, kind)(patch, 0.5, np.random.default_rng(seed))
        assert changed.dtype == np.uint8
        assert changed.shape == patch.shape
        assert (detail(changed) < detail(patch)) == (direction == "less")
        assert np.abs(changed.mean(axis=(0, 1)) - patch.mean(axis=(0, 1))).max() < 4


@given(
    st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 30), st.sampled_from([32, 256, 512])
)
def test_patches_of_any_size_keep_it(seed: int, height: int, width: int, size_px: int) -> None:
    rng = np.random.default_rng(seed)
    patch = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    changed = retexture(recolour(patch, 1.0, rng), size_px, rng)
    assert changed.shape == patch.shape
    assert changed.dtype == np.uint8


def test_no_strength_leaves_colours_as_they_are(patch: Image) -> None:
    for seed in range(4):
        assert np.array_equal(recolour(patch, 0.0, np.random.default_rng(seed)), patch)


def test_more_strength_changes_colours_more(patch: Image) -> None:
    def change(strength: float) -> float:
        results = [recolour(patch, strength, np.random.default_rng(seed)) for seed in range(20)]
        return float(np.mean([cv2.absdiff(patch, result).mean() for result in results]))

    assert 0 < change(0.3) < change(1.0) < 40


def test_recolouring_treats_channels_apart(patch: Image) -> None:
    change = recolour(patch, 1.0, np.random.default_rng(3)).astype(float) - patch
    assert np.ptp(change.mean(axis=(0, 1))) > 2
