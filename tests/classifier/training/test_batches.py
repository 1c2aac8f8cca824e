"""The batches of training: crops as they lie, labels, views, same draws under the same seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roi_cls.cache import CropRecord
from roi_cls.classifier.augmentation import spoil as spoiler
from roi_cls.classifier.augmentation.spoil import SpoiledCrop
from roi_cls.classifier.config import TrainConfig
from roi_cls.classifier.models.score import pick_pixels
from roi_cls.classifier.runs.bundle import Normalisation
from roi_cls.classifier.training import batches
from roi_cls.classifier.training.batches import Batch, BatchSource, DeviceCrops, PixelSource
from roi_cls.data.crops import CropArray
from roi_cls.roi.image import Image
from tests.helpers.pictures import noise

SCALE = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CPU = torch.device("cpu")
ROWS = np.arange(12)


def _crops(views: int = 1, side: int = 40, count: int = 12) -> CropArray:
    """Return smooth random crops; every third is of the target, class 1 of three."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, views, 5, 5, 3), dtype=np.uint8)
    pixels = coarse.repeat(side // 5, 2).repeat(side // 5, 3)
    records = tuple(CropRecord(path=Path(f"{i}.png"), status="ok") for i in range(count))
    labels = np.array([1 if i % 3 == 0 else 2 * (i % 2) for i in range(count)])
    return CropArray(pixels if views > 1 else pixels[:, 0], labels, records)


def _source(views: int = 1, target: int = 1, **settings: Any) -> PixelSource:
    config = TrainConfig(model="test_efficientnet", **settings)
    return PixelSource(_crops(views), 3, SCALE, CPU, config, target)


def _draw(source: BatchSource, seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    return source.train_batch(ROWS)


def test_a_plain_batch_holds_changed_crops_and_their_labels() -> None:
    source = _source()
    batch = _draw(source)
    assert len(source) == 12
    assert batch.inputs.shape == (12, 3, 40, 40)
    assert batch.inputs.dtype == batch.targets.dtype == torch.float32
    assert batch.inputs.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.argmax(1).tolist() == _crops().labels.tolist()
    assert batch.evidence is None
    assert not torch.equal(batch.inputs, source.plain_inputs(ROWS))


@pytest.mark.parametrize("views", [1, 2])
def test_plain_inputs_are_what_prediction_sees(views: int) -> None:
    expected = SCALE.apply(pick_pixels(_crops(views).pixels, ROWS), CPU)
    source = _source(views, augmentation="strong", self_blend=1.0, mixup=1.0)
    assert torch.equal(source.plain_inputs(ROWS), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"augmentation": "strong"},
        {"self_blend": 0.5},
        {"self_blend": 0.5, "mixup": 0.4, "cutmix": 1.0, "head": "evidence"},
    ],
)
@pytest.mark.parametrize("views", [1, 2])
def test_batches_repeat_under_a_seed(views: int, settings: dict[str, Any]) -> None:
    source, other = _source(views, **settings), _source(views, **settings)
    once, again, another = _draw(source), _draw(other), _draw(source, seed=1)
    assert torch.equal(once.inputs, again.inputs)
    assert torch.equal(once.targets, again.targets)
    if once.evidence is not None and again.evidence is not None:
        torch.testing.assert_close(once.evidence, again.evidence, equal_nan=True, atol=0, rtol=0)
    assert not torch.equal(once.inputs, another.inputs)


def test_real_defects_have_unknown_places_and_clean_pictures_none() -> None:
    evidence = _draw(_source(head="evidence")).evidence
    assert evidence is not None
    assert evidence.shape == (12, 40, 40)
    is_target = _crops().labels == 1
    assert bool(evidence[is_target].isnan().all())
    assert bool((evidence[~is_target] == 0).all())


@pytest.mark.parametrize("views", [1, 2])
def test_spoiled_clean_pictures_count_as_the_target_and_say_where(views: int) -> None:
    source = _source(views, augmentation="none", self_blend=1.0, head="evidence")
    batch, plain = _draw(source), source.plain_inputs(ROWS)
    assert batch.targets[:, 1].tolist() == [1] * 12
    evidence, is_target = batch.evidence, torch.from_numpy(_crops().labels == 1)
    assert evidence is not None
    assert bool(evidence[is_target].isnan().all())
    differs = (batch.inputs != plain).any(1).view(12, views, 40, 40)
    assert not differs[is_target].any()
    assert bool(differs[~is_target, 0].flatten(1).any(1).all())
    assert not differs[:, 1:].any()  # the face alone is spoiled
    marked = evidence[~is_target] > 0.5
    # Where it is marked it has changed; what has changed is marked but for faint changes.
    assert (marked & differs[~is_target, 0]).sum() > 0.6 * marked.sum()


def test_a_picture_that_shows_no_change_stays_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    def invert(
        crop: Image, points: object, other: Image, rng: np.random.Generator, *, beside: float | None
    ) -> SpoiledCrop:
        mask = np.zeros(crop.shape[:2], np.float32)
        if crop[0, 0, 0] < 128:
            mask[3, 4] = 1
        return SpoiledCrop(255 - crop, mask, "inverted")

    monkeypatch.setattr(spoiler, "spoil", invert)
    crops, config = _crops(), TrainConfig(augmentation="none", self_blend=1.0, head="evidence")
    batch = _draw(PixelSource(crops, 3, SCALE, CPU, config, 1))
    is_spoiled = (crops.labels != 1) & (crops.pixels[:, 0, 0, 0] < 128)
    assert 0 < is_spoiled.sum() < 8
    assert batch.targets.argmax(1).tolist() == np.where(is_spoiled, 1, crops.labels).tolist()
    assert batch.evidence is not None
    assert np.array_equal(batch.evidence.nan_to_num().numpy().any((1, 2)), is_spoiled)


def test_the_share_of_spoiled_pictures_is_that_of_the_settings() -> None:
    source, spoiled = _source(augmentation="none", self_blend=0.25), 0.0
    torch.manual_seed(0)
    for _ in range(40):
        spoiled += float(source.train_batch(ROWS).targets[:, 1].sum()) - 4
    assert 50 <= spoiled <= 110  # 80 expected of 320


def test_crops_stay_as_they_are_when_pictures_are_spoiled() -> None:
    crops = _crops()
    before = crops.pixels.copy()
    config = TrainConfig(model="test_efficientnet", self_blend=1.0)
    PixelSource(crops, 3, SCALE, CPU, config, 1).train_batch(ROWS)
    assert np.array_equal(crops.pixels, before)


def test_a_spoiled_place_moves_with_the_picture() -> None:
    torch.manual_seed(0)
    plain = _source(augmentation="none", self_blend=1.0, head="evidence").train_batch(ROWS).evidence
    torch.manual_seed(0)
    moved = (
        _source(augmentation="light", self_blend=1.0, head="evidence").train_batch(ROWS).evidence
    )
    assert plain is not None
    assert moved is not None
    known = ~plain.isnan()
    assert torch.equal(known, ~moved.isnan())
    assert not torch.equal(plain[known], moved[known])
    sizes = [evidence.nan_to_num().sum((1, 2))[[1, 2, 4, 5]] for evidence in (plain, moved)]
    torch.testing.assert_close(*sizes, rtol=0.6, atol=20)


def test_mixed_labels_are_shares_of_the_classes() -> None:
    targets = _draw(_source(mixup=1.0)).targets
    torch.testing.assert_close(targets.sum(1), torch.ones(12))
    assert ((targets > 0.01) & (targets < 0.99)).any()


def test_a_single_picture_makes_a_batch() -> None:
    source = _source(augmentation="strong", self_blend=0.5, mixup=0.5)
    assert source.train_batch(np.array([1])).inputs.shape == (1, 3, 40, 40)


@pytest.mark.parametrize("shape", [(9, 8, 8, 3), (9, 2, 8, 8, 3)])
def test_pictures_are_taken_in_the_order_of_their_rows(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    rows = np.array([7, 0, 7])
    taken = DeviceCrops(pixels, CPU).take(rows)
    assert torch.equal(taken, pick_pixels(pixels, rows))
    assert taken.is_contiguous(memory_format=torch.channels_last)


def test_what_is_taken_may_be_written_to() -> None:
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    DeviceCrops(pixels, CPU).take(np.array([1])).fill_(9)
    assert not pixels.any()


def test_pixels_of_a_file_that_is_only_read_will_do(tmp_path: Path) -> None:
    path = tmp_path / "pixels.npy"
    np.save(path, np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3))
    mapped = np.load(path, mmap_mode="r")
    assert DeviceCrops(mapped, CPU).take(np.array([1]))[0, 0, 0, 0] == 48


def test_pixels_are_sent_in_parts_and_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(7, 4, 4, 3)
    pixels.flags.writeable = False
    monkeypatch.setattr(batches, "_MOVED_BYTES", 100)  # two pictures
    assert np.array_equal(batches._send(pixels, CPU).numpy(), pixels)


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(9, 8, 8, 3), (9, 2, 8, 8, 3)])
def test_a_gpu_gets_the_same_pixels(
    shape: tuple[int, ...], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_SHARE_OF_FREE", share)
    pixels = noise(*shape)
    store, rows = DeviceCrops(pixels, torch.device("cuda")), np.array([7, 0, 7])
    assert store.is_on_gpu == (share > 0)
    assert torch.equal(store.take(rows).cpu(), pick_pixels(pixels, rows))
    assert store.take(rows).is_contiguous(memory_format=torch.channels_last)
