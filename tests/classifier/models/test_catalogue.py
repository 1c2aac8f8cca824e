"""timm's models as a list to choose from: weights, size, speed."""

from dataclasses import replace

import pytest

from roi_cls.base.errors import ModelNameError
from roi_cls.classifier.config import DEFAULT_MODEL
from roi_cls.classifier.models import catalogue, origin
from roi_cls.classifier.models.catalogue import (
    COMMON_MODELS,
    ListedModel,
    list_models,
    measure_rate,
)
from roi_cls.classifier.models.device import choose_backend


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "is_cached", lambda repository: False)


def test_common_models_come_first_the_default_before_all() -> None:
    models = list_models()
    assert tuple(facts.name for facts in models) == COMMON_MODELS
    assert models[0] == ListedModel(DEFAULT_MODEL, "package", 3_371_008, 224)


def test_kept_models_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"timm/resnet34.a1_in1k", origin.published("resnet18").hf_hub_id}
    monkeypatch.setattr(catalogue, "is_cached", lambda repository: repository in kept)
    models = {facts.name: facts.weights for facts in list_models()}
    assert models["resnet34.a1_in1k"] == "this machine"
    assert models["resnet18"] == "this machine"  # it is common, and listed once
    assert models["resnet50"] == "hub"
    assert len(models) == len(COMMON_MODELS) + 1


def test_places_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(name: str) -> str:
        (facts,) = list_models(name)
        return facts.weights

    assert place("botnet50ts_256") == "none"
    assert place("test_efficientnet") == "hub"
    gone = replace(origin.PACKAGES[0], model="test_efficientnet", name="gone-pytorch-model")
    monkeypatch.setattr(catalogue, "PACKAGES", (gone,))
    monkeypatch.setattr(origin, "PACKAGES", (gone,))
    assert place("test_efficientnet") == "extra"


def test_pattern_chooses_and_an_unknown_one_is_told() -> None:
    assert "test_efficientnet" in [facts.name for facts in list_models("test_eff*")]
    with pytest.raises(ModelNameError) as caught:
        list_models("efficientnet_b99")
    assert str(caught.value) == (
        "Cannot list models: none of timm's is called 'efficientnet_b99'. Use * for any letters, "
        "like 'efficientnet*'."
    )


def test_rate_is_measured() -> None:
    facts = ListedModel("test_efficientnet", "hub", 0, 64)
    assert measure_rate(facts, choose_backend("cpu", "fp32")) > 0
