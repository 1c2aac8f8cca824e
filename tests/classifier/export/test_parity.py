"""No file is written that answers otherwise than its run, on pictures that are really there."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from roi_cls.base.errors import DataError, ExportError
from roi_cls.classifier.export import parity
from roi_cls.classifier.export import run as whole
from roi_cls.classifier.export.parity import (
    RealCrops,
    check_parity,
    crop_real_pictures,
    find_pictures_to_compare,
    measure_int8,
)
from roi_cls.classifier.export.run import ExportJob, export_onnx
from roi_cls.classifier.inference.loaded import LoadedModel, load_any
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.classifier.runs.folder import RunFolder
from roi_cls.classifier.runs.scores import read_scores
from roi_cls.data.sample import Sample
from roi_cls.roi import CropParams
from tests.helpers.archives import zip_folder
from tests.helpers.fakes import FakeDetector


class Fixed:
    """A model that answers by the first pixel of a crop, and by ``shift`` otherwise."""

    def __init__(self, bundle: ModelBundle, shift: float = 0.0, only_alone: bool = False) -> None:
        self.bundle, self.views = bundle, bundle.views
        self._shift, self._only_alone = shift, only_alone

    def probabilities(
        self, pixels_by_view: Sequence[NDArray[np.uint8]], batch_size: int = 32
    ) -> NDArray[np.float64]:
        """Return (N, 2) probabilities."""
        one = pixels_by_view[0][:, 0, 0, 0] / 255
        if not self._only_alone or batch_size == 1:
            one = np.clip(one + self._shift, 0, 1)
        return np.stack([one, 1 - one], axis=1)


@pytest.fixture(scope="module")
def loaded(toy_run: RunFolder) -> LoadedModel:
    """The model of ``toy_run``."""
    return load_any(toy_run.path, choose_backend("cpu", "fp32"))


def _crops(*levels: int, labels: tuple[str | None, ...] | None = None) -> RealCrops:
    pixels = np.array([np.full((32, 32, 3), level) for level in levels], np.uint8)
    return RealCrops((pixels,), labels or (None,) * len(levels))


def test_equal_answers_pass_and_are_counted(loaded: LoadedModel) -> None:
    found = check_parity(Fixed(loaded.bundle), Fixed(loaded.bundle, 5e-5), _crops(10, 100, 200))
    assert found.pictures == 3
    assert found.largest_difference == pytest.approx(5e-5)


@pytest.mark.parametrize(
    ("shift", "only_alone", "told"),
    [(2e-3, False, "0.002"), (2e-3, True, "0.002"), (float("nan"), False, "nan")],
)
def test_other_answers_are_refused_in_batches_of_any_size(
    loaded: LoadedModel, shift: float, only_alone: bool, told: str
) -> None:
    with pytest.raises(ExportError) as caught:
        check_parity(Fixed(loaded.bundle), Fixed(loaded.bundle, shift, only_alone), _crops(10, 200))
    assert str(caught.value) == (
        "Cannot export the model 'test_efficientnet': exported, it answers otherwise, by up to "
        f"{told} on 2 pictures, and 0.0001 is allowed. No file was written. Use another --opset, "
        "or predict with the run itself."
    )


def test_file_that_answers_otherwise_is_not_written(
    toy_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "EXPORT_TOLERANCE", -1.0)  # so that no difference is small enough
    path = tmp_path / "m.onnx"
    path.write_bytes(b"of before")
    with pytest.raises(ExportError, match="No file was written"):
        export_onnx(ExportJob(toy_run, path, int8=True))
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"of before"


def test_validation_pictures_are_compared_with_their_labels(
    toy_run: RunFolder, loaded: LoadedModel, toy_set: Path
) -> None:
    stored = read_scores(toy_run.validation_scores, loaded.bundle.labels.names)
    samples = find_pictures_to_compare(toy_run, loaded, None)
    assert [sample.path for sample in samples] == [toy_set / path for path in stored.paths]
    assert tuple(sample.label for sample in samples) == stored.labels
    calls: list[tuple[int, int]] = []
    crops = crop_real_pictures(
        toy_run, loaded, samples, on_picture=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (len(samples), len(samples))
    np.testing.assert_allclose(loaded.probabilities(crops.by_view), stored.probabilities, atol=1e-6)


def test_many_pictures_are_thinned_evenly(
    toy_run: RunFolder, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = find_pictures_to_compare(toy_run, loaded, None)
    monkeypatch.setattr(parity, "MOST_PICTURES", len(every) // 2)
    found = find_pictures_to_compare(toy_run, loaded, None)
    assert len(found) <= len(every) // 2
    assert {sample.label for sample in found} == {"red", "blue"}


@pytest.fixture
def moved(toy_run: RunFolder, tmp_path: Path) -> LoadedModel:
    """The model of ``toy_run``, as if its data were no more where they were."""
    loaded = load_any(toy_run.path, choose_backend("cpu", "fp32"))
    gone = {**loaded.bundle.training, "source": str(tmp_path / "gone")}
    return replace(loaded, bundle=replace(loaded.bundle, training=gone))


def test_data_that_moved_are_found_by_name(
    toy_run: RunFolder, moved: LoadedModel, toy_set: Path, tmp_path: Path
) -> None:
    count = len(read_scores(toy_run.validation_scores, moved.bundle.labels.names).paths)
    with pytest.raises(ExportError) as caught:
        find_pictures_to_compare(toy_run, moved, None)
    assert str(caught.value) == (
        f"Cannot compare the exported model with the run: none of its {count} validation pictures "
        f"lies in {str(tmp_path / 'gone')!r} any more. Name their folder, or one with other "
        "pictures of the kind, with --data."
    )
    samples = find_pictures_to_compare(toy_run, moved, toy_set)
    assert len(samples) == count


def test_pictures_in_an_archive_are_compared(
    toy_run: RunFolder, moved: LoadedModel, toy_set: Path, tmp_path: Path
) -> None:
    stored = read_scores(toy_run.validation_scores, moved.bundle.labels.names)
    source = zip_folder(toy_set, tmp_path / "set.zip")
    samples = find_pictures_to_compare(toy_run, moved, source)
    assert [sample.path for sample in samples] == [source / path for path in stored.paths]
    crops = crop_real_pictures(toy_run, moved, samples)
    np.testing.assert_allclose(moved.probabilities(crops.by_view), stored.probabilities, atol=1e-6)


def test_other_pictures_will_do(toy_run: RunFolder, moved: LoadedModel, toy_set: Path) -> None:
    other = Path(moved.bundle.training["source"]).parent / "other"
    other.mkdir()
    shutil.copy(toy_set / "red" / "00.png", other / "a.png")
    (other / "b.png").write_bytes(b"no picture")
    samples = find_pictures_to_compare(toy_run, moved, other)
    assert [(sample.path.name, sample.label) for sample in samples] == [
        ("a.png", None),
        ("b.png", None),
    ]
    crops = crop_real_pictures(toy_run, moved, samples)
    assert (len(crops.by_view[0]), crops.labels) == (1, (None,))
    with pytest.raises(ExportError) as caught:
        crop_real_pictures(toy_run, moved, samples[1:])
    assert str(caught.value) == (
        "Cannot compare the exported model with the run: none of 1 pictures can be cropped, the "
        f"first is {str(other / 'b.png')!r}. Name others with --data."
    )
    with pytest.raises(DataError):
        find_pictures_to_compare(toy_run, moved, other / "nowhere")


def test_pictures_that_a_recipe_skips_are_left_out(
    toy_run: RunFolder, loaded: LoadedModel, toy_set: Path, central_face: FakeDetector
) -> None:
    # The face is 12 px of 24, and the second view has no substitute for one so small.
    views = (CropParams(size_px=32, min_face_px=8), CropParams(min_face_px=20, fallback="skip"))
    both = replace(loaded, bundle=replace(loaded.bundle, views=views))
    with pytest.raises(ExportError, match="none of 1 pictures can be cropped"):
        crop_real_pictures(toy_run, both, [Sample(toy_set / "red" / "00.png")])
    strict = replace(loaded, bundle=replace(loaded.bundle, views=views[:1]))
    assert crop_real_pictures(toy_run, strict, [Sample(toy_set / "red" / "00.png")]).labels


def test_what_int8_costs_is_measured(loaded: LoadedModel) -> None:
    names = loaded.bundle.labels.names
    bundle = replace(
        loaded.bundle, threshold=0.5, labels=replace(loaded.bundle.labels, target=names[0])
    )
    crops = _crops(51, 127, 204, labels=(names[1], names[0], names[0]))
    found = measure_int8(Fixed(bundle), Fixed(bundle, 0.1), crops)
    assert found.pictures == found.labelled == 3
    assert found.agreement == pytest.approx(2 / 3)  # 127/255 is below the threshold and comes above
    assert found.largest_difference == pytest.approx(0.1)
    assert found.mean_difference == pytest.approx(0.1)
    assert found.roc_auc == (1.0, 1.0)
    assert min(found.images_per_second) > 0
    alone = replace(crops, labels=(names[0], None, "unheard of"))
    found = measure_int8(Fixed(bundle), Fixed(bundle, 0.1), alone)
    assert (found.labelled, found.roc_auc) == (1, None)
