"""torchvision imports beside any torch: by itself, or with its operators declared."""

import importlib

import pytest

from roi_cls.base import torchvision
from roi_cls.base.torchvision import ensure_torchvision


def test_second_call_says_what_the_first_said() -> None:
    assert ensure_torchvision() == ensure_torchvision()
    assert importlib.import_module("torchvision").__version__


def test_torchvision_that_imports_by_itself_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision, "_library", [])
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    assert ensure_torchvision()
    assert torchvision._library == []


def test_other_failures_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("another reason")

    monkeypatch.setattr(torchvision, "_library", [])
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(RuntimeError, match="another reason"):
        ensure_torchvision()
