"""Augmentation: each crop by itself, alike under a seed, geometry and light as they are named."""

import colorsys
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roi_cls.classifier.augmentation import augment
from roi_cls.classifier.augmentation.augment import (
    STRENGTHS,
    Augmenter,
    Strength,
    draw_places,
    move_planes,
)
from roi_cls.classifier.config import Augmentation
from roi_cls.classifier.runs.bundle import Normalisation
from tests.helpers.pictures import noise

PLAIN = Normalisation((0.0,) * 3, (1 / 255,) * 3)  # values stay 0 to 255
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
NOTHING = Strength(0, 0, 0, 0)


def _crops(count: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(noise(count, side, side, 3, seed=seed)).permute(0, 3, 1, 2)


def _with_strength(monkeypatch: pytest.MonkeyPatch, strength: Strength) -> Augmenter:
    monkeypatch.setitem(augment.STRENGTHS, "light", strength)
    return Augmenter("light", PLAIN)


@pytest.mark.parametrize("kind", ["light", "strong"])
def test_crops_are_changed_alike_under_a_seed_and_stay_as_they_are(kind: Augmentation) -> None:
    crops = _crops(20)
    before, augmenter = crops.clone(), Augmenter(kind, IMAGENET)
    torch.manual_seed(3)
    once, _ = augmenter.apply(crops)
    torch.manual_seed(3)
    again, _ = augmenter.apply(crops)
    assert torch.equal(once, again)
    assert (once.shape, once.dtype) == (crops.shape, torch.float32)
    assert once.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(crops, before)
    assert not torch.equal(augmenter.apply(crops)[0], once)


@pytest.mark.parametrize("kind", ["light", "strong"])
def test_equal_crops_of_a_batch_are_changed_each_by_itself(kind: Augmentation) -> None:
    changed, _ = Augmenter(kind, PLAIN).apply(_crops(1).repeat(12, 1, 1, 1))
    assert len({crop.numpy().tobytes() for crop in changed}) == 12


@pytest.mark.parametrize("kind", ["light", "strong"])
def test_no_value_leaves_the_range_of_pixels(kind: Augmentation) -> None:
    torch.manual_seed(0)
    changed, _ = Augmenter(kind, IMAGENET).apply(_crops(64))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))
    values = changed * std + mean
    assert values.min() >= -1e-6
    assert values.max() <= 1 + 1e-6


def test_without_augmentation_crops_are_only_normalised() -> None:
    crops, maps = _crops(2), torch.rand(2, 32, 32)
    changed, same = Augmenter("none", IMAGENET).apply(crops, maps=maps)
    assert torch.equal(changed, IMAGENET.apply(crops, torch.device("cpu")))
    assert same is maps


def test_nothing_drawn_leaves_each_crop_or_its_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = _crops(40)
    torch.manual_seed(0)
    changed, _ = _with_strength(monkeypatch, NOTHING).apply(crops)
    same = [torch.allclose(c, o.float(), atol=0.01) for c, o in zip(changed, crops, strict=True)]
    mirrored = [
        torch.allclose(c, o.flip(-1).float(), atol=0.01)
        for c, o in zip(changed, crops, strict=True)
    ]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 8 <= sum(mirrored) <= 32


def test_pixels_stay_where_they_are_at_the_identity_and_return_when_mirrored_twice() -> None:
    planes = torch.rand(2, 3, 17, 17)
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(move_planes(planes, IDENTITY.expand(2, 2, 3)), planes)
    torch.testing.assert_close(move_planes(planes, mirror), planes.flip(-1))
    torch.testing.assert_close(move_planes(move_planes(planes, mirror), mirror), planes)


@given(st.integers(0, 1000), st.integers(2, 40))
def test_moving_equals_torchs_affine_grid(seed: int, side: int) -> None:
    torch.manual_seed(seed)
    places = draw_places(Strength(30, 0.2, 0.3, 0), 3)
    planes = torch.rand(3, 2, side, side)
    grid = torch.nn.functional.affine_grid(places, [3, 2, side, side], align_corners=False)
    expected = torch.nn.functional.grid_sample(planes, grid, align_corners=False)
    torch.testing.assert_close(move_planes(planes, places), expected, atol=1e-4, rtol=0)


@given(st.integers(0, 1000))
def test_places_undo_a_turn_a_scale_and_a_shift_within_their_limits(seed: int) -> None:
    strength = Strength(15, 0.1, 0.2, 0)
    torch.manual_seed(seed)
    for rows in draw_places(strength, 8).double():
        matrix, offset = rows[:, :2], rows[:, 2]
        forward = torch.linalg.inv(matrix)
        assert 0.8 - 1e-6 <= forward.det().abs().sqrt() <= 1.2 + 1e-6
        assert (forward @ offset).abs().max() <= 0.2 + 1e-6  # of a half side
        turned = abs(math.degrees(math.atan2(float(forward[1, 0]), float(forward[1, 1]))))
        assert turned <= 15 + 1e-4
        torch.testing.assert_close(forward @ forward.T, forward.det().abs() * torch.eye(2).double())


def test_what_comes_from_outside_is_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    white = torch.full((30, 3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    changed, _ = _with_strength(monkeypatch, Strength(0, 0.2, 0, 0)).apply(white)
    assert changed.min() == pytest.approx(114, abs=0.01)
    assert (changed.flatten(1).min(1).values < 115).float().mean() > 0.9


def test_a_map_follows_the_pixels_of_the_first_view() -> None:
    crops, maps = torch.zeros(24, 3, 48, 48, dtype=torch.uint8), torch.zeros(12, 48, 48)
    crops = crops.to(memory_format=torch.channels_last)
    crops[::2, :, 14:22, 26:34] = 255  # the first of two views has a square
    maps[:, 14:22, 26:34] = 1
    torch.manual_seed(0)
    changed, moved = Augmenter("light", PLAIN).apply(crops, 2, maps)
    assert moved is not None
    assert moved.shape == maps.shape
    squares = changed[::2].mean(1) / changed[::2].mean(1).amax((1, 2), keepdim=True)
    inside = squares > 0.6  # what comes from outside of a crop is 0.45 of white, and 0 on the map
    agreement = (inside & (moved > 0.5)).sum((1, 2)) / (inside | (moved > 0.5)).sum((1, 2))
    assert agreement.min() > 0.9
    assert not torch.equal(moved, maps)
    assert changed[1::2, :, 14:22, 26:34].max() < 200


def test_views_are_changed_each_by_itself() -> None:
    changed, _ = Augmenter("strong", PLAIN).apply(_crops(1).repeat(2, 1, 1, 1), views=2)
    assert not torch.equal(changed[0], changed[1])


def _colour(augmenter: Augmenter, rgb: tuple[int, int, int], count: int = 60) -> torch.Tensor:
    """Return the middle pixels of changed one-coloured crops, (count, 3)."""
    crops = torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1).expand(count, 3, 16, 16)
    torch.manual_seed(0)
    return augmenter.apply(crops.contiguous(memory_format=torch.channels_last))[0][:, :, 8, 8]


def test_brightness_is_a_factor_within_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = _colour(_with_strength(monkeypatch, Strength(0, 0, 0, brightness=0.3)), (160, 80, 40))
    factors = changed / torch.tensor([160.0, 80, 40])
    assert 0.699 < factors.min() < 0.75
    assert 1.25 < factors.max() < 1.301
    torch.testing.assert_close(factors[:, 0], factors[:, 2], rtol=1e-3, atol=0)


def test_contrast_leaves_one_coloured_greys(monkeypatch: pytest.MonkeyPatch) -> None:
    strength = Strength(0, 0, 0, 0, contrast=0.5)
    changed = _colour(_with_strength(monkeypatch, strength), (90, 90, 90))
    torch.testing.assert_close(changed, torch.full_like(changed, 90), atol=0.1, rtol=0)


def test_contrast_widens_or_narrows_about_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = torch.full((60, 3, 16, 16), 100, dtype=torch.uint8)
    crops[:, :, :8] = 140
    torch.manual_seed(0)
    changed, _ = _with_strength(monkeypatch, Strength(0, 0, 0, 0, contrast=0.5)).apply(crops)
    spread = (changed[:, 0, 0, 0] - changed[:, 0, -1, 0]) / 40
    assert 0.49 < spread.min() < 0.6
    assert 1.4 < spread.max() < 1.51
    torch.testing.assert_close(changed.mean((1, 2, 3)), torch.full((60,), 120.0))


def test_hue_turns_the_colour_and_keeps_its_luminance(monkeypatch: pytest.MonkeyPatch) -> None:
    strength = Strength(0, 0, 0, 0, hue=0.03)
    changed = _colour(_with_strength(monkeypatch, strength), (200, 120, 90))
    luminance = changed @ torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(luminance, torch.full((60,), 140.5), atol=0.1, rtol=0)
    hues = [colorsys.rgb_to_hsv(*(colour / 255).tolist())[0] for colour in changed]
    before = colorsys.rgb_to_hsv(200 / 255, 120 / 255, 90 / 255)[0]
    turns = [(hue - before + 0.5) % 1 - 0.5 for hue in hues]
    assert -0.05 < min(turns) < -0.01
    assert 0.01 < max(turns) < 0.05


def test_grey_takes_all_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = _colour(_with_strength(monkeypatch, Strength(0, 0, 0, 0, grey=1)), (200, 120, 90))
    torch.testing.assert_close(changed, torch.full_like(changed, 140.5), atol=0.1, rtol=0)


def test_blur_smooths_a_share_of_the_crops_and_equals_torchvisions() -> None:
    from torchvision.transforms.v2.functional import gaussian_blur

    planes = _crops(6).float()
    before, sigmas = planes.clone(), torch.tensor([0, 0.4, 0, 1.5, 1.0, 0])
    augment._blur(planes, sigmas)
    for crop, original, sigma in zip(planes, before, sigmas.tolist(), strict=True):
        expected = gaussian_blur(original, [5, 5], [sigma, sigma]) if sigma else original
        torch.testing.assert_close(crop, expected, atol=0.01, rtol=0)


def test_about_a_fifth_of_strongly_changed_crops_is_blurred() -> None:
    strong = STRENGTHS["strong"]
    assert strong is not None
    torch.manual_seed(0)
    sigmas = augment._draw_sigmas(strong, 2000)
    assert 0.17 < (sigmas > 0).float().mean() < 0.23
    assert 0.1 <= sigmas[sigmas > 0].min() < sigmas.max() <= 1.5


def test_a_batch_changes_alike_in_parts_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    crops, augmenter = _crops(10), Augmenter("strong", IMAGENET)
    results = []
    for chunk in (3, 100):
        monkeypatch.setattr(augment, "_CHUNK", chunk)
        torch.manual_seed(1)
        results.append(augmenter.apply(crops)[0])
    torch.testing.assert_close(*results)
