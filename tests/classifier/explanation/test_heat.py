"""Where heat lies: in the crop, and from there in the frame."""

import numpy as np
import pytest

from roi_cls.classifier.explanation.heat import Heat, enlarge, make_heat, rank_correlation
from roi_cls.roi import Box, CropParams, Cut, Face
from roi_cls.roi.crop import cut_crops
from roi_cls.roi.picture import Picture

FACE = Face(Box(10, 10, 20, 20), 0.9, ((0.0, 0.0),) * 6, "short")


def heat_at(x: int, y: int, cut: Cut, side: int = 8) -> Heat:
    effect = np.zeros((side, side), np.float32)
    effect[y, x] = 2.0
    return make_heat(0, np.zeros((side, side, 3), np.uint8), cut, effect)


@pytest.mark.parametrize(
    ("cut", "peak"),
    [
        (Cut(Box(0, 0, 8, 8)), (2.5, 1.5)),
        (Cut(Box(100, 50, 180, 130)), (125, 65)),
        (Cut(Box(-40, -40, 40, 40)), (-15, -25)),
        (Cut(Box(0, 0, 160, 80)), (50, 15)),  # squashed
        (Cut(Box(0, 0, 8, 8), angle=90.0), (6.5, 2.5)),
        (Cut(Box(0, 0, 8, 8), angle=180.0), (5.5, 6.5)),
    ],
    ids=["same", "enlarged", "beyond the border", "squashed", "a quarter turn", "a half turn"],
)
def test_peak_is_told_in_pixels_of_the_frame(cut: Cut, peak: tuple[float, float]) -> None:
    assert heat_at(2, 1, cut).peak == pytest.approx(peak)


@pytest.mark.parametrize(
    ("region", "angle", "params"),
    [
        (Box(60, 40, 160, 140), 0.0, CropParams(size_px=64)),
        (Box(60, 40, 160, 140), 25.0, CropParams(size_px=64)),
        (Box(60, 40, 160, 140), -70.0, CropParams(size_px=200)),
        (Box(-50, -30, 150, 170), 0.0, CropParams(size_px=64)),
        (Box(-50, -30, 150, 170), 12.0, CropParams(size_px=64, border="constant")),
        (Box(0, 0, 300, 200), 0.0, CropParams(size_px=64, full_frame="squash")),
        (Box(0, -50, 300, 250), 0.0, CropParams(size_px=128)),
    ],
    ids=[
        "plain",
        "turned",
        "turned, enlarged",
        "beyond",
        "beyond, turned",
        "squashed",
        "padded",
    ],
)
def test_a_dot_found_on_the_crop_is_where_it_was_on_the_frame(
    region: Box, angle: float, params: CropParams
) -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[88:92, 118:122] = 255  # its middle is (120, 90)
    cut = Cut(region, angle, None if params.full_frame == "squash" else FACE)
    (crop,) = cut_crops(Picture.of(frame), [cut], params)
    heat = make_heat(0, crop, cut, crop[..., 0].astype(np.float32))
    assert heat.peak is not None
    pixel = region.width / params.size_px  # what a pixel of the crop stands for
    assert np.abs(np.subtract(heat.peak, (120, 90))).max() <= max(1.5, pixel)


def test_peak_on_a_plateau_is_its_middle() -> None:
    effect = np.zeros((9, 9), np.float32)
    effect[0:3, 6:9] = 1.0
    effect[8, 0] = 1.0  # another, as hot
    heat = make_heat(0, np.zeros((9, 9, 3), np.uint8), Cut(Box(0, 0, 9, 9)), effect)
    assert heat.peak == pytest.approx((7.5, 1.5))


def test_heat_is_what_speaks_for_the_class_at_most_one() -> None:
    effect = np.array([[-3.0, 0.0], [1.0, 4.0]], np.float32)
    heat = make_heat(1, np.zeros((2, 2, 3), np.uint8), Cut(Box(0, 0, 2, 2)), effect)
    assert heat.heat.tolist() == [[0, 0], [0.25, 1]]
    assert (heat.view, heat.effect is effect) == (1, True)


def test_no_heat_has_no_peak_and_no_share() -> None:
    effect = np.full((4, 4), -1.0, np.float32)
    heat = make_heat(0, np.zeros((4, 4, 3), np.uint8), Cut(Box(0, 0, 4, 4)), effect)
    assert not heat.heat.any()
    assert heat.peak is None
    assert heat.share_within(Box(0, 0, 4, 4)) is None


def test_share_within_a_box_of_the_frame() -> None:
    effect = np.ones((4, 4), np.float32)
    heat = make_heat(0, np.zeros((4, 4, 3), np.uint8), Cut(Box(-40, 0, 40, 80)), effect)
    assert heat.share_within(Box(0, 0, 200, 200)) == pytest.approx(0.5)
    assert heat.share_within(Box(-40, 0, -20, 20)) == pytest.approx(1 / 16)
    assert heat.share_within(Box(100, 100, 200, 200)) == 0


def test_enlarged_map_keeps_its_range_and_its_peak() -> None:
    values = np.array([[0, 0, 0], [0, 5, -1], [0, 0, 0]], np.float32)
    large = enlarge(values, 30)
    assert large.shape == (30, 30)
    assert -1 <= large.min() < large.max() <= 5
    assert large.max() == pytest.approx(5, rel=0.01)
    assert np.unravel_index(large.argmax(), large.shape)[0] in (14, 15)


def test_rank_correlation_knows_order_alone() -> None:
    first = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, np.zeros((4, 4), np.float32)) is None
