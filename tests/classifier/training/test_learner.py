"""The loss against torch's and against numbers worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.training.batches import Batch
from roi_cls.classifier.training.distributed import World
from roi_cls.classifier.training.learner import Learner, Loss, class_frequencies, evidence_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.3, -0.2], [-1.0, 1.0, 3.0]])
HARD = torch.tensor([0, 2, 2])
ONE_HOT = functional.one_hot(HARD, 3).float()
EVEN = np.array([4.0, 4.0, 4.0])
RARE = np.array([1.0, 2.0, 9.0])


def _loss(counts: np.ndarray, targets: torch.Tensor = ONE_HOT, **changes: Any) -> float:
    settings = {"imbalance": "none", **changes}
    plain = {"imbalance": "weights", "label_smoothing": 0.0}
    return float(Loss(TrainConfig(**{**plain, **settings}), counts)(LOGITS, targets))


def test_hard_labels_give_the_sum_of_cross_entropies() -> None:
    expected = functional.cross_entropy(LOGITS, HARD, reduction="sum")
    assert _loss(EVEN) == pytest.approx(float(expected))


def test_weights_count_each_picture_inversely_to_its_class() -> None:
    weights = torch.tensor(12 / (3 * RARE), dtype=torch.float32)  # of mean 1 over the pictures
    expected = functional.cross_entropy(LOGITS, HARD, weights, reduction="sum")
    assert _loss(RARE, imbalance="weights") == pytest.approx(float(expected))
    assert float((weights * torch.tensor(RARE)).sum()) == pytest.approx(12)


def test_smoothing_is_torchs() -> None:
    expected = functional.cross_entropy(LOGITS, HARD, reduction="sum", label_smoothing=0.1)
    assert _loss(EVEN, label_smoothing=0.1) == pytest.approx(float(expected))


def test_soft_labels_are_torchs() -> None:
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.2, 0.2, 0.6]])
    expected = functional.cross_entropy(LOGITS, soft, reduction="sum")
    assert _loss(EVEN, soft) == pytest.approx(float(expected))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_counts_the_sure_ones_less(gamma: float) -> None:
    right = LOGITS.softmax(1)[torch.arange(3), HARD]
    expected = (-((1 - right) ** gamma) * right.log()).sum()
    assert _loss(EVEN, focal_gamma=gamma) == pytest.approx(float(expected))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_has_a_slope_where_the_answer_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = Loss(TrainConfig(focal_gamma=gamma, label_smoothing=0), np.array([1.0, 1.0]))
    loss(logits, torch.tensor([[1.0, 0.0]])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_logit_adjustment_adds_the_shares_to_the_logits() -> None:
    adjusted = LOGITS + torch.tensor(RARE / 12).log()
    expected = functional.cross_entropy(adjusted.float(), HARD, reduction="sum")
    assert _loss(RARE, imbalance="logit_adjustment") == pytest.approx(float(expected))


def test_logit_adjustment_of_even_classes_changes_nothing() -> None:
    assert _loss(EVEN, imbalance="logit_adjustment") == pytest.approx(_loss(EVEN))


def test_blended_pictures_count_as_the_target() -> None:
    labels = np.array([0] * 10 + [1] * 80 + [2] * 10)
    found = class_frequencies(labels, 3, target=0, self_blend=0.25)
    assert found.tolist() == [10 + 0.25 * 90, 60, 7.5]
    assert class_frequencies(labels, 3, target=1, self_blend=0).tolist() == [10, 80, 10]


def test_evidence_is_compared_at_the_maps_own_size() -> None:
    evidence = torch.zeros(1, 4, 4)
    evidence[0, :2, :2] = 1  # the upper left quarter
    evidence[0, 2, 2] = 1  # a quarter of the lower right one
    places = torch.tensor([[[0.5, -1.0], [-2.0, 0.0]]])
    wanted = torch.tensor([[[1.0, 0.0], [0.0, 0.25]]])
    expected = functional.binary_cross_entropy_with_logits(
        places, wanted, pos_weight=torch.tensor(3.0)
    )
    assert float(evidence_loss(places, evidence)) == pytest.approx(float(expected))


def test_unknown_evidence_adds_nothing_and_moves_nothing() -> None:
    places = torch.zeros(3, 2, 2, requires_grad=True)
    evidence = torch.zeros(3, 4, 4)
    evidence[1] = float("nan")
    loss = evidence_loss(places, evidence)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert float(loss.detach()) == pytest.approx(2 * float(np.log(2)))
    assert places.grad is not None
    assert places.grad[1].abs().max() == 0
    assert places.grad[0].abs().min() > 0


class _Pair:
    """Two pictures of a class each."""

    labels = np.array([0, 1])

    def __len__(self) -> int:
        return 2

    def train_batch(self, rows: np.ndarray) -> Batch:
        """Return the pictures."""
        return Batch(self.plain_inputs(rows), torch.eye(2))

    def plain_inputs(self, rows: np.ndarray) -> torch.Tensor:
        """Return the pictures."""
        return torch.linspace(0, 1, 2 * 12).view(2, 3, 2, 2)


def test_the_way_back_is_as_exact_as_the_way_there() -> None:
    found: list[bool] = []
    layers = (torch.nn.Conv2d(3, 2, 1), torch.nn.Flatten(), torch.nn.Linear(8, 2))
    model = torch.nn.Sequential(*layers)
    model.get_parameter("0.weight").register_hook(  # type: ignore[no-untyped-call]  # torch leaves it untyped
        lambda slope: found.append(torch.backends.cudnn.allow_tf32)
    )
    config = TrainConfig(weights="none", batch_size=2)
    learner = Learner(config, model, choose_backend("cpu", "fp32"), World())
    learner.step(_Pair(), np.arange(2), Loss(config, np.array([1.0, 1.0])))
    assert found == [False]
