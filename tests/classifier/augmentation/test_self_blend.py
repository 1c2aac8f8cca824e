"""A blend is a clean crop with one visible defect where the mask says; all else stays."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roi_cls.classifier.augmentation import self_blend
from roi_cls.classifier.augmentation.self_blend import STRIKING_SHARE, blend
from roi_cls.roi.image import Image

# In shares of the crop: right eye, left eye, nose tip, mouth, ears.
FACE = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.5, 0.7], [0.2, 0.45], [0.8, 0.45]])
UNKNOWN = np.full((6, 2), np.nan, np.float32)
WAYS = [way for way, _ in self_blend._WAYS]


def portrait(size_px: int, seed: int = 0) -> Image:
    """Return a plain face on a patterned ground."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.uniform(40, 220, (9, 9, 3)), (size_px, size_px))
    grain = np.clip(ground + rng.normal(0, 3, ground.shape), 0, 255)
    image: Image = grain.astype(np.uint8)

    def draw(share: float, x: float, y: float, colour: tuple[int, int, int]) -> None:
        middle = (round(x * size_px), round(y * size_px))
        cv2.circle(image, middle, max(1, round(share * size_px)), colour, -1)

    draw(0.36, 0.5, 0.5, (214, 170, 140))
    for x, y in FACE[:2]:
        draw(0.06, x, y, (250, 250, 250))
        draw(0.03, x, y, (60, 40, 20))
    draw(0.05, 0.5, 0.55, (190, 140, 110))
    draw(0.08, 0.5, 0.7, (170, 60, 60))
    return image


def keypoints(size_px: int) -> NDArray[np.float32]:
    return (FACE * size_px).astype(np.float32)


def spoil(seed: int, size_px: int = 96) -> tuple[Image, Image, NDArray[np.float32]]:
    """Return a portrait, its blend and the mask."""
    crop = portrait(size_px)
    changed, mask = blend(
        crop, keypoints(size_px), portrait(size_px, 1), np.random.default_rng(seed)
    )
    return crop, changed, mask


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([32, 33, 64, 112]),
    st.booleans(),
    st.booleans(),
)
def test_every_draw_is_a_picture_and_a_mask(
    seed: int, size_px: int, known: bool, noise: bool
) -> None:
    rng = np.random.default_rng(seed)
    crop = rng.integers(0, 256, (size_px, size_px, 3)).astype(np.uint8)
    crop = crop if noise else portrait(size_px)
    points = keypoints(size_px) if known else UNKNOWN
    changed, mask = blend(crop, points, portrait(size_px, 1), rng)
    assert changed.dtype == np.uint8
    assert changed.shape == crop.shape
    assert mask.dtype == np.float32
    assert mask.shape == (size_px, size_px)
    assert set(np.unique(mask)) <= {0.0, 1.0}


@pytest.mark.parametrize("size_px", [32, 96, 224])
def test_a_blend_is_visible(size_px: int) -> None:
    for seed in range(40):
        crop, changed, mask = spoil(seed, size_px)
        assert mask.mean() >= STRIKING_SHARE
        assert cv2.absdiff(crop, changed)[mask > 0].mean() > 5


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_each_way_changes_nothing_away_from_its_mask(
    way: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(self_blend, "_WAYS", ((way, 1.0),))
    for seed in range(15):
        crop, changed, mask = spoil(seed)
        near = cv2.dilate(mask, np.ones((15, 15), np.uint8)) > 0
        difference = cv2.absdiff(crop, changed).mean(axis=2)
        assert mask.any()
        # Beyond the mask a soft edge may still fade out, too weak to see.
        assert difference[~near].sum() < 0.05 * difference.sum()
        assert cv2.blur(difference, (5, 5))[~near].max(initial=0) < self_blend.VISIBLE


def test_small_defects_leave_most_of_the_picture_untouched() -> None:
    shares = []
    for seed in range(40):
        crop, changed, _ = spoil(seed)
        shares.append((crop != changed).any(axis=2).mean())
    assert np.median(shares) < 0.35


def test_the_same_draw_gives_the_same_blend() -> None:
    for seed in range(20):
        _, first, first_mask = spoil(seed)
        _, second, second_mask = spoil(seed)
        assert np.array_equal(first, second)
        assert np.array_equal(first_mask, second_mask)


def test_other_draws_give_other_blends() -> None:
    assert len({spoil(seed)[1].tobytes() for seed in range(20)}) == 20


def test_the_crops_given_are_not_written_to() -> None:
    crop, other = portrait(64), portrait(64, 1)
    crop.flags.writeable = other.flags.writeable = False
    for seed in range(30):
        changed, _ = blend(crop, keypoints(64), other, np.random.default_rng(seed))
        changed[0, 0] = 0  # the result is the caller's own
    assert np.array_equal(crop, portrait(64))
    assert np.array_equal(other, portrait(64, 1))


def test_defects_gather_on_the_face() -> None:
    """A face in the corner of a wide crop draws them there."""
    crop, other = portrait(96), portrait(96, 1)
    points = (FACE * 30 + 4).astype(np.float32)
    masks = [blend(crop, points, other, np.random.default_rng(seed))[1] for seed in range(40)]
    total = np.sum(masks, axis=0)
    assert total[:48, :48].sum() > 3 * total[48:, 48:].sum()


@pytest.mark.parametrize(
    "points",
    [np.zeros((6, 2)), np.full((6, 2), -500.0), np.full((6, 2), 1e6), FACE * 96 * 40],
    ids=["one point", "left of it", "far away", "larger than it"],
)
def test_odd_keypoints_still_give_a_blend_in_the_crop(points: NDArray[np.float64]) -> None:
    crop, other = portrait(96), portrait(96, 1)
    for seed in range(20):
        changed, _ = blend(crop, points, other, np.random.default_rng(seed))
        assert changed.shape == crop.shape


def test_one_unknown_keypoint_counts_as_no_face() -> None:
    crop, other, points = portrait(96), portrait(96, 1), keypoints(96)
    points[5] = np.nan
    partly = blend(crop, points, other, np.random.default_rng(0))
    unknown = blend(crop, UNKNOWN, other, np.random.default_rng(0))
    assert np.array_equal(partly[0], unknown[0])


def test_a_crop_that_cannot_change_has_an_empty_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_blend, "_WAYS", ((self_blend._mirror_part, 1.0),))
    monkeypatch.setattr(self_blend, "retexture", lambda patch, size_px, rng: patch)
    monkeypatch.setattr(self_blend, "recolour", lambda patch, strength, rng: patch)
    plain = np.full((64, 64, 3), 128, np.uint8)
    changed, mask = blend(plain, keypoints(64), plain, np.random.default_rng(0))
    assert np.array_equal(changed, plain)
    assert not mask.any()
