"""A blob is about as large as asked for, soft, and within the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.classifier.augmentation.patch import Window, draw_blob, enclose


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
