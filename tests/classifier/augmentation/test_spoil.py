"""A spoiled crop is a clean one with one visible defect where the mask says; all else stays."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from roi_cls.classifier.augmentation.face_map import FaceMap
from roi_cls.classifier.augmentation.patch import Window
from roi_cls.classifier.augmentation.spoil import STRIKING_SHARE, VISIBLE, WAYS, Way, spoil
from roi_cls.roi.image import Image

# In shares of the crop: right eye, left eye, nose tip, mouth, ears.
FACE = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.5, 0.7], [0.2, 0.45], [0.8, 0.45]])
UNKNOWN = np.full((6, 2), np.nan, np.float32)


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


def spoil_portrait(
    seed: int, size_px: int = 96, ways: tuple[Way, ...] = WAYS
) -> tuple[Image, Image, NDArray[np.float32]]:
    """Return a portrait, what it is spoiled to, and the mask."""
    crop, rng = portrait(size_px), np.random.default_rng(seed)
    spoiled = spoil(crop, keypoints(size_px), portrait(size_px, 1), rng, ways)
    return crop, spoiled.pixels, spoiled.mask


@settings(max_examples=60)
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
    spoiled = spoil(crop, points, portrait(size_px, 1), rng)
    changed, mask = spoiled.pixels, spoiled.mask
    assert spoiled.way in {way.name for way in WAYS}
    assert changed.dtype == np.uint8
    assert changed.shape == crop.shape
    assert mask.dtype == np.float32
    assert mask.shape == (size_px, size_px)
    assert set(np.unique(mask)) <= {0.0, 1.0}


@pytest.mark.parametrize("size_px", [32, 96, 224])
def test_a_blend_is_visible(size_px: int) -> None:
    for seed in range(40):
        crop, changed, mask = spoil_portrait(seed, size_px)
        assert mask.mean() >= STRIKING_SHARE
        assert cv2.absdiff(crop, changed)[mask > 0].mean() > 5


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_way_changes_nothing_away_from_its_mask(way: Way) -> None:
    seen = 0
    for seed in range(20):
        crop, changed, mask = spoil_portrait(seed, ways=(way,))
        if not mask.any():
            continue
        seen += 1
        near = cv2.dilate(mask, np.ones((15, 15), np.uint8)) > 0
        difference = cv2.absdiff(crop, changed).mean(axis=2)
        # Beyond the mask a soft edge may still fade out, too weak to see.
        assert difference[~near].sum() < 0.1 * difference.sum()
        assert cv2.blur(difference, (5, 5))[~near].max(initial=0) < VISIBLE
    assert seen > 15


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("points", [keypoints(48), UNKNOWN, keypoints(48) - 60], ids=str)
def test_each_way_takes_any_face(way: Way, points: NDArray[np.float32]) -> None:
    crop, other = portrait(48), portrait(48, 1)
    for seed in range(15):
        spoiled = spoil(crop, points, other, np.random.default_rng(seed), (way,))
        assert spoiled.way == way.name
        assert spoiled.pixels.shape == crop.shape


def test_shares_sum_up_to_one() -> None:
    assert sum(way.share for way in WAYS) == pytest.approx(1)
    assert sum(way.share_beside for way in WAYS) == pytest.approx(1)


def test_another_gaze_moves_the_iris_and_keeps_the_lids() -> None:
    way = next(way for way in WAYS if way.name == "gaze")
    size_px = 224
    eyes = FACE[:2] * size_px
    for seed in range(10):
        crop, changed, mask = spoil_portrait(seed, size_px, (way,))
        rows, columns = np.nonzero(mask)
        middle = np.array([columns.mean(), rows.mean()])
        distances = np.hypot(*(eyes - middle).T)
        assert distances.min() < 0.06 * size_px  # one eye
        # The dark of the iris is still there, elsewhere.
        eye = eyes[distances.argmin()].astype(int)
        part = np.s_[eye[1] - 20 : eye[1] + 20, eye[0] - 30 : eye[0] + 30]
        before, after = crop[part].min(axis=2) < 70, changed[part].min(axis=2) < 70
        assert after.sum() > 0.4 * before.sum()
        moved = np.argwhere(after).mean(axis=0) - np.argwhere(before).mean(axis=0)
        assert np.hypot(*moved) > 1.5


def test_small_defects_leave_most_of_the_picture_untouched() -> None:
    shares = []
    for seed in range(40):
        crop, changed, _ = spoil_portrait(seed)
        shares.append((crop != changed).any(axis=2).mean())
    assert np.median(shares) < 0.35


def test_the_same_draw_gives_the_same_blend() -> None:
    for seed in range(20):
        _, first, first_mask = spoil_portrait(seed)
        _, second, second_mask = spoil_portrait(seed)
        assert np.array_equal(first, second)
        assert np.array_equal(first_mask, second_mask)


def test_other_draws_give_other_blends() -> None:
    assert len({spoil_portrait(seed)[1].tobytes() for seed in range(20)}) == 20


def test_the_crops_given_are_not_written_to() -> None:
    crop, other = portrait(64), portrait(64, 1)
    crop.flags.writeable = other.flags.writeable = False
    for seed in range(30):
        changed = spoil(crop, keypoints(64), other, np.random.default_rng(seed)).pixels
        changed[0, 0] = 0  # the result is the caller's own
    assert np.array_equal(crop, portrait(64))
    assert np.array_equal(other, portrait(64, 1))


def test_defects_gather_on_the_face() -> None:
    """A face in the corner of a wide crop draws them there."""
    crop, other = portrait(96), portrait(96, 1)
    points = (FACE * 30 + 4).astype(np.float32)
    masks = [spoil(crop, points, other, np.random.default_rng(seed)).mask for seed in range(40)]
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
        changed = spoil(crop, points, other, np.random.default_rng(seed)).pixels
        assert changed.shape == crop.shape


def test_one_unknown_keypoint_counts_as_no_face() -> None:
    crop, other, points = portrait(96), portrait(96, 1), keypoints(96)
    points[5] = np.nan
    partly = spoil(crop, points, other, np.random.default_rng(0))
    unknown = spoil(crop, UNKNOWN, other, np.random.default_rng(0))
    assert np.array_equal(partly.pixels, unknown.pixels)


def test_a_crop_that_cannot_change_has_an_empty_mask() -> None:
    def mirror(
        crop: Image, other: Image, face: FaceMap, rng: np.random.Generator
    ) -> tuple[Window, Image]:
        return Window(0, 0, 64, 64), np.ascontiguousarray(crop[:, ::-1])

    plain = np.full((64, 64, 3), 128, np.uint8)
    ways = (Way("mirror", mirror, 1.0),)
    spoiled = spoil(plain, keypoints(64), plain, np.random.default_rng(0), ways)
    assert np.array_equal(spoiled.pixels, plain)
    assert not spoiled.mask.any()


def test_a_change_of_a_few_pixels_leaves_the_crop_clean() -> None:
    def dot(
        crop: Image, other: Image, face: FaceMap, rng: np.random.Generator
    ) -> tuple[Window, Image]:
        return Window(10, 10, 12, 12), np.full((2, 2, 3), 255, np.uint8)

    plain = np.full((224, 224, 3), 128, np.uint8)
    ways = (Way("dot", dot, 1.0),)
    spoiled = spoil(plain, keypoints(224), plain, np.random.default_rng(0), ways)
    assert not spoiled.mask.any()


@pytest.mark.parametrize(("beside", "least", "most"), [(0.0, 0.0, 0.15), (1.0, 0.5, 1.0)])
def test_a_share_of_the_defects_may_lie_anywhere_in_the_crop(
    beside: float, least: float, most: float
) -> None:
    """The face takes a ninth of the crop; what lies on the other side of it is beside it."""
    crop, other, points = portrait(96), portrait(96, 1), (FACE * 32).astype(np.float32)
    away = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        mask = spoil(crop, points, other, random, beside=beside).mask
        away += mask[48:].sum() + mask[:48, 48:].sum() > mask.sum() / 2
    assert least <= away / 60 <= most
