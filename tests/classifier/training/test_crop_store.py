"""Crops are given as they are, from wherever they lie."""

from pathlib import Path

import numpy as np
import pytest
import torch

from roi_cls.classifier.models.pixels import pick_pixels
from roi_cls.classifier.training import batches as crop_store
from roi_cls.classifier.training.batches import DeviceCrops

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("shape", [(9, 8, 8, 3), (9, 2, 8, 8, 3)])
def test_pictures_are_taken_in_the_order_of_their_rows(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
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
    pixels = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    monkeypatch.setattr(crop_store, "_MOVED_BYTES", 100)  # two pictures
    assert np.array_equal(crop_store._send(pixels, CPU).numpy(), pixels)


@needs_gpu
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(9, 8, 8, 3), (9, 2, 8, 8, 3)])
def test_a_gpu_gets_the_same_pixels(
    shape: tuple[int, ...], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_store, "_SHARE_OF_FREE", share)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    store, rows = DeviceCrops(pixels, torch.device("cuda")), np.array([7, 0, 7])
    assert store.is_on_gpu == (share > 0)
    assert torch.equal(store.take(rows).cpu(), pick_pixels(pixels, rows))
    assert store.take(rows).is_contiguous(memory_format=torch.channels_last)
