"""Mixup and cutmix: shares of pixels are shares of labels, views and maps go along."""

import pytest
import torch

from roi_cls.classifier.augmentation.augment import Mixer

LABELS = torch.tensor([0, 1, 2, 0])


def _inputs(views: int = 1) -> torch.Tensor:
    """Return one-coloured pictures whose value is their number."""
    values = torch.arange(4.0).repeat_interleave(views).view(-1, 1, 1, 1)
    return values.expand(-1, 3, 16, 16).contiguous(memory_format=torch.channels_last)


def test_without_mixing_targets_are_the_labels() -> None:
    inputs, maps = _inputs(), torch.rand(4, 16, 16)
    same, targets, same_maps = Mixer(3).apply(inputs, LABELS, maps)
    assert same is inputs
    assert same_maps is maps
    assert targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert targets.dtype == torch.float32


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.4, 0.4)])
@pytest.mark.parametrize("views", [1, 2])
def test_pixels_labels_and_maps_are_mixed_by_one_share(
    mixup: float, cutmix: float, views: int
) -> None:
    torch.manual_seed(0)
    for _ in range(8):
        maps = torch.arange(4.0).view(4, 1, 1).expand(4, 16, 16)
        inputs, targets, mixed_maps = Mixer(3, mixup, cutmix).apply(_inputs(views), LABELS, maps)
        assert inputs.shape == (4 * views, 3, 16, 16)
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(targets.sum(1), torch.ones(4))
        share = targets[2, 2]  # the third alone has the class 2, and its neighbour before it is 1
        expected = torch.tensor([0, 1, 2, 3]) * share + torch.tensor([3, 0, 1, 2]) * (1 - share)
        means = inputs.reshape(4, views, -1).mean(2)
        torch.testing.assert_close(means, expected[:, None].expand(4, views), atol=1e-4, rtol=0)
        assert mixed_maps is not None
        for view in range(views):
            torch.testing.assert_close(inputs.reshape(4, views, 3, 16, 16)[:, view, 0], mixed_maps)


def test_cutmix_pastes_whole_pixels_and_mixup_blends_them() -> None:
    torch.manual_seed(0)
    cut = torch.cat([Mixer(3, cutmix=1.0).apply(_inputs(), LABELS)[0] for _ in range(5)])
    assert set(cut.flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    blended = Mixer(3, mixup=1.0).apply(_inputs(), LABELS)[0]
    assert not set(blended.flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_unknown_evidence_stays_unknown_where_it_goes() -> None:
    maps = torch.zeros(4, 16, 16)
    maps[0] = torch.nan
    torch.manual_seed(0)
    _, _, mixed = Mixer(3, mixup=1.0).apply(_inputs(), LABELS, maps)
    assert mixed is not None
    assert [bool(m.isnan().any()) for m in mixed] == [True, True, False, False]


def test_mixing_repeats_under_a_seed() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(Mixer(3, 0.5, 0.5).apply(_inputs(), LABELS)[0])
    assert torch.equal(*results)
