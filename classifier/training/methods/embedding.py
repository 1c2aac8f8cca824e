"""A frozen backbone with a trained head: each crop's embedding is computed once.

Training then sees embeddings alone, so that an epoch takes milliseconds, whatever the backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.device import Backend
from roi_cls.classifier.models.network import FeatureNetwork
from roi_cls.classifier.models.score import compute_outputs
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import Batch
from roi_cls.classifier.training.data import TrainingData
from roi_cls.classifier.training.job import Observers
from roi_cls.classifier.training.loop import Trainer
from roi_cls.data.crops import CropArray


class EmbeddingSource:
    """Embeddings with their labels, on the device, as batches for the training loop."""

    def __init__(
        self,
        embeddings: NDArray[np.float32],
        labels: NDArray[np.int64],
        classes: int,
        device: torch.device,
    ) -> None:
        """Take (N, F) embeddings and the N classes they belong to."""
        self.labels = labels
        self._embeddings = torch.from_numpy(embeddings).to(device)
        shares = torch.nn.functional.one_hot(torch.from_numpy(labels), classes)
        self._targets = shares.float().to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def train_batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the embeddings at ``rows``; they are not changed at random."""
        return Batch(self.plain_inputs(rows), _take(self._targets, rows))

    def plain_inputs(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the (B, F) embeddings at ``rows``."""
        return _take(self._embeddings, rows)


def _take(values: Tensor, rows: NDArray[np.int64]) -> Tensor:
    # The numbers are sent first: an index of the host's memory would wait for the GPU.
    return values[torch.from_numpy(rows).to(values.device, non_blocking=True)]


class HeadAlone(nn.Module):
    """The head of a network as a model of its own, whose input are embeddings."""

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__()
        self.head = network.head

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (B, K) logits of (B, V*F) embeddings."""
        logits: Tensor = self.head(embeddings)
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the head, as timm's models do."""
        return self.head

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return one group for all layers."""
        return lambda name: 0


def fit_embedding(
    config: TrainConfig, data: TrainingData, backend: Backend, run: RunFolder, observers: Observers
) -> nn.Module:
    """Return a frozen backbone with a head trained on the embeddings of the training crops.

    Raises:
        RoiClsError: The backbone cannot be had, or the head not be trained.
    """
    size_px = data.train.pixels.shape[-2]
    classes = len(data.labels.names)
    backbone = build_backbone(config.model, config.weights, size_px, config.global_pool)
    network = FeatureNetwork.around(
        backbone,
        classes,
        len(data.train.by_view),
        hidden=config.hidden,
        drop_rate=config.drop_rate,
    ).to(backend.device)
    network.backbone.requires_grad_(False)
    scale = Normalisation(*normalisation(network))
    # In fp32, like the scores that the finished model is judged by.
    exact = Backend(backend.device, torch.float32)
    observers.on_start(exact, sum(p.numel() for p in network.parameters()))

    def source(crops: CropArray) -> EmbeddingSource:
        embeddings = embed_crops(network, crops, scale, exact)
        return EmbeddingSource(embeddings, crops.labels, classes, backend.device)

    trainer = Trainer(head_config(config), HeadAlone(network), exact, run)
    trainer.run(
        source(data.train),
        source(data.validation),
        data.labels.target_index,
        observers.on_step,
        observers.on_epoch,
    )
    network.head.load_state_dict(trainer.model.get_submodule("head").state_dict())
    return network.eval()


def embed_crops(
    network: FeatureNetwork, crops: CropArray, scale: Normalisation, backend: Backend
) -> NDArray[np.float32]:
    """Return the (N, V*F) embeddings of crops as they are, the network in evaluation mode."""
    network.eval()
    return compute_outputs(network.embed, crops.pixels, scale, backend)


def head_config(config: TrainConfig) -> TrainConfig:
    """Return the settings of the training loop where there is a head alone: one phase."""
    size = 64 if config.batch_size == "auto" else config.batch_size  # memory is no concern
    return replace(
        config,
        head_epochs=0,
        unfreeze_blocks=None,
        layer_decay=1.0,
        self_blend=0.0,
        compile=False,
        batch_size=size,
    )
