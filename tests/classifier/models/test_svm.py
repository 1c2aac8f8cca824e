"""The support vector machine: scikit-learn's decisions from plain arrays, features that see."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.models.device import choose_backend
from roi_cls.classifier.models.saved import load_model
from roi_cls.classifier.models.score import compute_logits
from roi_cls.classifier.models.svm import PICTURE_PX, Machine, SvmNetwork, describe_pictures
from roi_cls.classifier.models.timm_model import normalisation
from roi_cls.classifier.runs.bundle import Normalisation, load_bundle
from roi_cls.classifier.training.job import Observers, TrainJob
from roi_cls.classifier.training.methods.svm import fit_machine
from roi_cls.classifier.training.run import train_run

MakeJob = Callable[..., TrainJob]
DrawSet = Callable[..., Path]
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(3, 2, (60, 7)) * np.arange(1, 8)
SOUGHT = FEATURES[:, 0] + RANDOM.normal(0, 1, 60) > 3


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_arrays_decide_as_scikit_learn(kernel: str) -> None:
    pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC(C=2.0, kernel=kernel))])
    pipeline.fit(FEATURES, SOUGHT)
    machine = Machine.of(pipeline, slope=2.0, shift=-0.5)
    fresh = RANDOM.normal(3, 2, (20, 7)) * np.arange(1, 8)
    wanted = pipeline.decision_function(fresh)
    found = machine.decide(torch.from_numpy(fresh)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(machine(torch.from_numpy(fresh)).numpy(), 2 * wanted - 0.5)


def test_machine_is_chosen_by_folds_and_scaled_to_probabilities() -> None:
    groups = [str(i // 2) for i in range(60)]
    found = fit_machine(FEATURES, SOUGHT, groups)
    assert found.settings["kernel"] in ("linear", "rbf")
    assert 0.7 < found.settings["cross_validated_roc_auc"] < 1
    assert float(found.machine.get_buffer("slope")) > 0
    chance = torch.sigmoid(found.machine(torch.from_numpy(FEATURES)))
    assert float(chance.mean()) == pytest.approx(SOUGHT.mean(), abs=0.1)
    again = fit_machine(FEATURES, SOUGHT, groups)
    assert torch.equal(again.machine.get_buffer("vectors"), found.machine.get_buffer("vectors"))


def test_groups_stay_together_in_the_folds() -> None:
    # Pairs of equal rows: held out apart, the one would betray the other's random label.
    random = np.random.default_rng(1)
    rows = np.repeat(random.normal(size=(40, 30)), 2, axis=0)
    labels = np.repeat(random.permutation(np.arange(40) % 2 == 0), 2)
    apart = fit_machine(rows, labels, [str(i) for i in range(80)]).settings
    together = fit_machine(rows, labels, [str(i // 2) for i in range(80)]).settings
    assert together["cross_validated_roc_auc"] < 0.8 < apart["cross_validated_roc_auc"]


def test_too_few_to_hold_out_are_fitted_as_they_are() -> None:
    found = fit_machine(FEATURES[:6], np.arange(6) < 1, [str(i) for i in range(6)])
    assert found.settings == {"kernel": "rbf", "C": 1.0}


def test_features_see_outlines_and_texture_not_size() -> None:
    random = np.random.default_rng(0)
    smooth = np.full((PICTURE_PX, PICTURE_PX, 3), 128, np.uint8)
    bars = smooth.copy()
    bars[:, ::16] = 250
    noise = random.integers(0, 256, (PICTURE_PX, PICTURE_PX, 3), dtype=np.uint8)
    found = describe_pictures(np.stack([smooth, bars, noise]))
    assert found.shape == (3, 7 * 7 * 4 * 9 + 16 * (10 + 18))
    assert np.isfinite(found).all()
    assert len({tuple(row.round(3)) for row in found}) == 3
    turned = describe_pictures(bars.swapaxes(0, 1)[None])[0]
    assert np.abs(turned - found[1])[: 7 * 7 * 4 * 9].max() > 0.1  # gradients have directions
    texture = found[:, 7 * 7 * 4 * 9 :]
    np.testing.assert_allclose(texture.sum(1), 2 * 16)  # two sets of 16 histograms of shares
    large = describe_pictures(bars.repeat(2, 0).repeat(2, 1)[None])[0]
    np.testing.assert_allclose(large, found[1], atol=1e-6)


@pytest.mark.parametrize("counts", [{"red": 12, "blue": 14}, {"red": 9, "blue": 9, "green": 9}])
def test_run_is_a_bundle_without_a_pickle(
    draw_set: DrawSet, make_job: MakeJob, tmp_path: Path, counts: dict[str, int]
) -> None:
    source = draw_set(tmp_path / "set", **counts)
    job = make_job(source, tmp_path / "run", method="svm", calibrate=False, frame=False)
    assert train_run(job, Observers()).trained
    bundle = load_bundle(job.run.path)
    assert bundle.model == bundle.network["kind"] == "svm"
    assert len(bundle.network["machines"]) == (1 if len(counts) == 2 else 3)
    network = load_model(job.run.path, bundle)
    assert isinstance(network, SvmNetwork)
    assert network.to(torch.float16) is network
    pixels = RANDOM.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    scale = Normalisation(*normalisation(network))
    logits = compute_logits(network, pixels, scale, choose_backend("cpu", "fp32"))
    assert logits.shape == (5, len(counts))
    features = torch.from_numpy(describe_pictures(pixels))
    wanted = torch.stack([machine(features) for machine in network.machines], 1).numpy()
    target = bundle.labels.target_index
    found = logits[:, target : target + 1] if len(counts) == 2 else logits
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(TrainingError) as caught:
        describe_pictures(np.zeros((1, 32, 32, 3), np.uint8))
    assert str(caught.value) == (
        "Cannot compute hand-made features: scikit-image is not installed. "
        "Install it: pip install 'roi-cls[classical]'."
    )
