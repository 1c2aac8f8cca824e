"""A head on embeddings: computed once, and trained as the frozen network would be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.backbone import build_backbone
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.network import FeatureNetwork
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation, load_bundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.training.batches import PixelSource
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.loop import Trainer
from roi_cls.classifier.training.methods.embedding import (
    EmbeddingSource,
    HeadAlone,
    embed_crops,
    head_config,
)
from roi_cls.classifier.training.run import train_run
from roi_cls.data.crops import CropArray

MakeJob = Callable[..., TrainJob]
CPU = choose_backend("cpu", "fp32")


def _crops(count: int, views: int = 1) -> CropArray:
    random = np.random.default_rng(count)
    shape = (count, views, 32, 32, 3) if views > 1 else (count, 32, 32, 3)
    labels = np.arange(count) % 2
    return CropArray(random.integers(0, 256, shape, dtype=np.uint8), labels, (None,) * count)  # type: ignore[arg-type]  # rows play no part


def _files(folder: Path) -> RunFolder:
    folder.mkdir()
    return RunFolder(folder)


def _network(views: int, hidden: int) -> FeatureNetwork:
    torch.manual_seed(1)
    backbone = build_backbone("test_efficientnet", "none", 32)
    return FeatureNetwork.around(backbone, 2, views, hidden=hidden)


@pytest.mark.parametrize(("views", "hidden"), [(1, 0), (2, 5)])
def test_head_learns_as_in_the_frozen_network(tmp_path: Path, views: int, hidden: int) -> None:
    config = TrainConfig(
        weights="none",
        epochs=4,
        head_epochs=4,
        batch_size=4,
        lr=0.01,
        head_lr=0.01,
        warmup_epochs=0,
        imbalance="weights",
        ema=0,
        augmentation="none",
        patience=0,
        metric="loss",
    )
    train, validation = _crops(10, views), _crops(6, views)
    frozen, embedded = _network(views, hidden), _network(views, hidden)
    scale = Normalisation(*normalisation(frozen))
    trainer = Trainer(config, frozen, CPU, _files(tmp_path / "frozen"))
    pixels = [PixelSource(c, 2, scale, CPU.device, config, 1) for c in (train, validation)]
    trainer.run(pixels[0], pixels[1], 1)

    made = [
        EmbeddingSource(embed_crops(embedded, c, scale, CPU), c.labels, 2, CPU.device)
        for c in (train, validation)
    ]
    before = embedded.head.state_dict()["1.weight"].clone()
    alone = Trainer(head_config(config), HeadAlone(embedded), CPU, _files(tmp_path / "head"))
    alone.run(made[0], made[1], 1)
    assert not torch.equal(embedded.head.state_dict()["1.weight"], before)
    for name, values in embedded.head.state_dict().items():
        torch.testing.assert_close(values, frozen.head.state_dict()[name], atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(
        compute_logits(embedded, validation.pixels, scale, CPU),
        compute_logits(trainer.model, validation.pixels, scale, CPU),
        atol=1e-4,
    )


def test_source_gives_its_rows() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    source = EmbeddingSource(values, np.array([0, 2, 1]), 3, CPU.device)
    batch = source.train_batch(np.array([2, 0]))
    assert batch.inputs.tolist() == [[4, 5], [0, 1]]
    assert batch.targets.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert batch.evidence is None
    assert source.plain_inputs(np.array([1])).tolist() == [[2, 3]]
    assert len(source) == 3


def test_settings_of_the_head_alone() -> None:
    config = TrainConfig(batch_size="auto", layer_decay=0.5, unfreeze_blocks=2, self_blend=0.2)
    found = head_config(config)
    assert (found.first_phase, found.batch_size, found.layer_decay) == (0, 64, 1.0)
    assert (found.unfreeze_blocks, found.self_blend) == (None, 0.0)
    assert found == replace(found, lr=config.lr)


def test_run_on_embeddings_is_a_bundle_of_backbone_and_head(
    toy_set: Path, make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(
        toy_set, tmp_path / "run", method="embedding", hidden=8, epochs=12, lr=0.02, patience=0
    )
    assert train_run(job, Observers()).trained
    bundle = load_bundle(job.run.path)
    assert bundle.network["kind"] == "features"
    assert bundle.network["head"]["hidden"] == 8
    network = load_model(job.run.path, bundle)
    assert isinstance(network, FeatureNetwork)
    scores = job.run.validation_scores.read_text().splitlines()
    right = [line.split(",")[2] == _answer(line, scores[0]) for line in scores[1:]]
    assert np.mean(right) > 0.8


def _answer(line: str, header: str) -> str:
    columns, values = header.split(","), line.split(",")
    best = max(range(4, len(columns)), key=lambda i: float(values[i]))
    return columns[best].removeprefix("p_")
