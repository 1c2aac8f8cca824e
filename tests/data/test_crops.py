"""Crops of samples as one array: rows, labels and pixels stay together."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roi_cls.base.errors import DataError
from roi_cls.cache import CropResult
from roi_cls.cache.options import BuildOptions
from roi_cls.data.crops import CropArray, check_cropped, crop_samples, crop_views, load_views
from roi_cls.data.sample import LabelSet, Sample
from roi_cls.roi import CropParams
from roi_cls.roi.recipe import OpenedRecipe
from tests.helpers.fakes import FakeDetector, no_detector, see

PARAMS = CropParams(crop="full", size_px=16)
LABELS = LabelSet(("low", "high"), "high")


VIEWS = (OpenedRecipe(PARAMS, (), no_detector),)


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Four grey pictures from dark to bright, the second unreadable."""
    found = []
    for i, label in enumerate(("low", "low", "high", "high")):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.full((16, 16, 3), 60 * i, np.uint8)).save(path)
        found.append(Sample(path, label))
    found[1].path.write_bytes(b"no picture")
    return found


def _load(samples: list[Sample], cache: Path) -> CropArray:
    options = BuildOptions(cache, workers=0)
    records = crop_views(samples, VIEWS, options)
    return load_views(samples, records, LABELS, VIEWS, options)


def test_index_means_the_same_picture_everywhere(samples: list[Sample], tmp_path: Path) -> None:
    crops = _load(samples, tmp_path / "cache")
    assert len(crops) == 3
    assert [record.path.name for record in crops.records] == ["0.png", "2.png", "3.png"]
    assert crops.labels.tolist() == [0, 1, 1]
    assert crops.pixels.dtype == np.uint8
    assert crops.pixels.shape == (3, 16, 16, 3)
    assert crops.pixels[:, 0, 0, 0].tolist() == [0, 120, 180]


def test_a_row_comes_for_each_sample_in_order(samples: list[Sample], tmp_path: Path) -> None:
    seen: list[CropResult] = []
    crop = partial(crop_samples, samples, PARAMS, no_detector, BuildOptions(tmp_path / "c", 0))
    records = crop(seen.append)
    assert [record.path for record in records] == [sample.path for sample in samples]
    assert [record.status for record in records] == ["ok", "error", "ok", "ok"]
    assert tuple(result.record for result in seen) == records
    assert crop() == records


def test_unlabelled_sample_is_told(samples: list[Sample], tmp_path: Path) -> None:
    samples[2] = Sample(samples[2].path)
    with pytest.raises(DataError) as caught:
        _load(samples, tmp_path / "cache")
    assert str(caught.value) == (
        f"Cannot use {str(samples[2].path)!r}: it has no label. "
        "Label every picture, by its name, its folder or a CSV."
    )


def test_label_outside_the_set_is_misuse(samples: list[Sample], tmp_path: Path) -> None:
    samples[3] = Sample(samples[3].path, "middle")
    with pytest.raises(ValueError, match="label must be one of"):
        _load(samples, tmp_path / "cache")


def test_set_without_a_crop_names_the_first_reason(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        _load(samples[1:2], tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith(
        "Cannot load crops: none of the 1 pictures could be cropped, first: "
        f"Cannot read {str(samples[1].path)!r}: "
    )
    assert message.endswith(" `roi-cls crops PATH --manifest rows.csv` lists them all.")


def test_no_sample_at_all_is_told() -> None:
    with pytest.raises(DataError) as caught:
        check_cropped(())
    assert str(caught.value) == (
        "Cannot load crops: none of the 0 pictures could be cropped. "
        "`roi-cls crops PATH --manifest rows.csv` lists them all."
    )


def test_views_of_a_picture_stay_together(samples: list[Sample], tmp_path: Path) -> None:
    squashed = OpenedRecipe(replace(PARAMS, full_frame="squash"), (), no_detector)
    views = (VIEWS[0], squashed)
    Image.fromarray(np.full((8, 16, 3), 120, np.uint8)).save(samples[2].path)  # wide: bars above
    options = BuildOptions(tmp_path / "cache", workers=0)
    seen: list[CropResult] = []
    rows = crop_views(samples, views, options, seen.append)
    assert len(seen) == 2 * len(samples)
    crops = load_views(samples, rows, LABELS, views, options)
    assert crops.pixels.shape == (3, 2, 16, 16, 3)
    assert [record.path.name for record in crops.records] == ["0.png", "2.png", "3.png"]
    first, second = crops.by_view
    assert first[:, 8, 8, 0].tolist() == second[:, 8, 8, 0].tolist() == [0, 120, 180]
    assert first[1, 0, 0].tolist() == [124, 116, 104]  # padded
    assert second[1, 0, 0].tolist() == [120, 120, 120]  # squashed
    for view, pixels in zip(views, crops.by_view, strict=True):
        alone = load_views(samples, crop_views(samples, [view], options), LABELS, [view], options)
        np.testing.assert_array_equal(alone.pixels, pixels)
        (same,) = alone.by_view
        assert same is alone.pixels


def test_picture_without_one_of_its_views_has_none(samples: list[Sample], tmp_path: Path) -> None:
    faces = CropParams(size_px=16, fallback="skip")
    views = (VIEWS[0], OpenedRecipe(faces, (), partial(FakeDetector, see())))
    options = BuildOptions(tmp_path / "cache", workers=0)
    rows = crop_views(samples, views, options)
    assert [record.status for record in rows[0]] == ["skipped", "error", "skipped", "skipped"]
    with pytest.raises(DataError, match="has no face and the recipe skips such pictures"):
        load_views(samples[:1], [row[:1] for row in rows], LABELS, views, options)
