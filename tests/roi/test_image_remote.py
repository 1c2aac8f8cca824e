"""A picture on a remote file system is read like a local one, and what fails is one row."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from roi_cls.base.errors import ImageReadError
from roi_cls.base.location import as_path
from roi_cls.roi import image as image_module
from roi_cls.roi.image import read_bytes, read_image


def test_remote_picture_is_read_as_a_local_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    remote = as_path("memory://test-image/a.png")
    remote.write_bytes((tmp_path / "a.png").read_bytes())
    assert np.array_equal(read_image(remote), read_image(tmp_path / "a.png"))


def test_remote_picture_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = as_path("memory://test-image/folder")
    (folder / "empty.png").write_bytes(b"")
    (folder / "large.png").write_bytes(b"123")
    monkeypatch.setattr(image_module, "MAX_BYTES", 2)
    reasons = {
        "": "it is a folder. Give the files in it.",
        "missing.png": "no such file. Check the path.",
        "empty.png": "it is empty (0 bytes). Remove it, or copy or export it again.",
        "large.png": "it has 3 bytes, over the limit of 2. Give PNG, JPEG, WebP, BMP, TIFF or GIF "
        "files.",
    }
    for name, reason in reasons.items():
        path = folder / name if name else folder
        with pytest.raises(ImageReadError) as caught:
            read_bytes(path)
        assert str(caught.value) == f"Cannot read {str(path)!r}: {reason}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            PermissionError("Access Denied"),
            "permission denied. Give this user the right to read it.",
        ),
        (
            EOFError("Could not connect to the URL: X"),  # as clients do: no OSError
            "Could not connect to the URL: X. Check the path, the network and your right to read "
            "it.",
        ),
    ],
)
def test_remote_picture_that_cannot_be_reached_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    path = as_path("memory://test-image/far.png")
    path.write_bytes(b"1")

    def fail(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(MemoryFileSystem, "_open", fail)
    with pytest.raises(ImageReadError) as caught:
        read_bytes(path)
    assert str(caught.value) == f"Cannot read 'memory://test-image/far.png': {reason}"
