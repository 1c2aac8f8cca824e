"""How good a model is after an epoch, on the validation pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from torch import nn

from roi_cls.classifier.batch_source import BatchSource
from roi_cls.classifier.config import BATCH_SIZE
from roi_cls.classifier.distributed import World
from roi_cls.classifier.metrics.decision import to_probabilities
from roi_cls.classifier.models.device import Backend


def score_source(
    model: nn.Module, source: BatchSource, backend: Backend, world: World
) -> NDArray[np.float32]:
    """Return the (N, K) logits of the source's pictures, unchanged, each process doing a share."""
    model.eval()
    share = world.share(np.arange(len(source)))
    logits: list[torch.Tensor] = []
    with torch.inference_mode(), backend.autocast():
        for start in range(0, len(share), BATCH_SIZE):
            inputs = source.plain_inputs(share[start : start + BATCH_SIZE])
            logits.append(model(inputs).float())
    own = torch.cat(logits).cpu().numpy() if logits else np.empty((0, 0), np.float32)
    return world.join_shares(own, len(source))


def measure_validation(
    logits: NDArray[np.float32], labels: NDArray[np.int64], target_index: int
) -> dict[str, float]:
    """Return what an epoch is judged by: loss, average precision and ROC-AUC of the target."""
    probabilities = to_probabilities(logits)
    is_target, scores = labels == target_index, probabilities[:, target_index]
    classes = range(probabilities.shape[1])
    return {
        "validation_loss": float(log_loss(labels, probabilities, labels=classes)),
        "average_precision": float(average_precision_score(is_target, scores)),
        "roc_auc": float(roc_auc_score(is_target, scores)),
    }
