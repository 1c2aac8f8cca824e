"""Patches of a picture: blobs as large as asked for, pieces bent and retouched within a window."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.classifier.augmentation import patch as patch_module
from roi_cls.classifier.augmentation.patch import (
    Window,
    about,
    bend,
    draw_blob,
    enclose,
    move_picture,
    recolour,
    reflect,
    retexture,
)
from roi_cls.roi.image import Image
from tests.helpers.pictures import noise


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ((2.2, 3.0), (7.1, 9.0), Window(2, 3, 8, 9)),
        ((-5.0, -1.0), (99.0, 4.0), Window(0, 0, 20, 4)),
        ((-9.0, -9.0), (-3.0, -3.0), Window(0, 0, 1, 1)),
        ((30.0, 40.0), (50.0, 60.0), Window(19, 19, 20, 20)),
    ],
)
def test_a_window_is_the_whole_pixels_of_the_picture(
    low: tuple[float, float], high: tuple[float, float], expected: Window
) -> None:
    assert enclose(low, high, 20) == expected


def test_a_blob_covers_about_the_area_of_its_circle() -> None:
    areas = [
        draw_blob((100.0, 100.0), 20.0, 2.0, 200, np.random.default_rng(seed)).alpha.sum()
        for seed in range(200)
    ]
    assert np.median(areas) == pytest.approx(np.pi * 20**2, rel=0.2)


@given(
    st.integers(0, 2**32),
    st.floats(-40, 80),
    st.floats(-40, 80),
    st.floats(0.5, 60),
    st.floats(0, 9),
)
def test_a_blob_fits_its_window(seed: int, x: float, y: float, radius: float, blur: float) -> None:
    blob = draw_blob((x, y), radius, blur, 40, np.random.default_rng(seed))
    window = blob.window
    assert 0 <= window.left < window.right <= 40
    assert 0 <= window.top < window.bottom <= 40
    assert blob.alpha.shape == (window.height, window.width)
    assert blob.alpha.dtype == np.float32
    assert blob.alpha.min() >= 0
    assert blob.alpha.max() <= 1.0001


def test_a_blob_fades_out_before_its_window_ends() -> None:
    for seed in range(50):
        blob = draw_blob((100.0, 100.0), 15.0, 4.0, 200, np.random.default_rng(seed))
        rim = np.concatenate([blob.alpha[0], blob.alpha[-1], blob.alpha[:, 0], blob.alpha[:, -1]])
        assert rim.max() < 0.01
        assert blob.alpha.max() > 0.8


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
        changed = getattr(patch_module, kind)(patch, 0.5, np.random.default_rng(seed))
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


PICTURE: Image = noise(40, 40, 3)
WHOLE = Window(0, 0, 40, 40)


def test_no_turn_no_scale_and_no_shift_leave_a_picture_as_it_is() -> None:
    matrix = about((12.0, 7.0), 0, 1, (0, 0))
    assert np.array_equal(move_picture(PICTURE, matrix, WHOLE), PICTURE)


def test_a_shift_moves_what_lies_in_the_window() -> None:
    moved = move_picture(PICTURE, about((0.0, 0.0), 0, 1, (3, -2)), Window(10, 20, 18, 25))
    assert np.array_equal(moved, PICTURE[22:27, 7:15])


def test_a_turn_keeps_its_centre() -> None:
    assert np.allclose(about((5.0, 9.0), 33, 1.4, (0, 0)) @ (5, 9, 1), (5, 9))


def test_a_mirrored_picture_is_its_flip() -> None:
    moved = move_picture(PICTURE, reflect((19.5, 3.0), (7.0, 0.0)), WHOLE)
    assert np.array_equal(moved, PICTURE[:, ::-1])


@pytest.mark.parametrize("across", [(1.0, 0.0), (3.0, -4.0), (0.0, 0.0)])
def test_mirroring_twice_changes_nothing(across: tuple[float, float]) -> None:
    matrix = np.vstack([reflect((4.0, 6.0), across), [0, 0, 1]])
    assert np.allclose(matrix @ matrix, np.eye(3))
    assert np.allclose(matrix @ (4, 6, 1), (4, 6, 1))


@pytest.mark.parametrize("seed", range(12))
def test_a_bend_changes_its_disc_and_keeps_its_rim(seed: int) -> None:
    bent = bend(PICTURE, (20.0, 18.0), 12.0, np.random.default_rng(seed))
    window, alpha = bent.reach.window, bent.reach.alpha
    before = PICTURE[window.slices]
    assert bent.pixels.shape == before.shape
    assert np.array_equal(bent.pixels[alpha == 0], before[alpha == 0])
    assert (alpha == 0).any()
    changed = (bent.pixels != before).any(axis=2)
    assert changed[alpha > 0.3].mean() > 0.8


def test_every_kind_of_bend_is_drawn() -> None:
    drawn = {
        bend(PICTURE, (20.0, 20.0), 9.0, np.random.default_rng(i)).pixels.tobytes()
        for i in range(20)
    }
    assert len(drawn) == 20


def test_a_bend_at_the_corner_stays_in_the_picture() -> None:
    bent = bend(PICTURE, (0.5, 39.5), 10.0, np.random.default_rng(1))
    assert bent.pixels.shape == PICTURE[bent.reach.window.slices].shape
