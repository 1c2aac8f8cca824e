"""Files that can and cannot be read, under any name, from any thread."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from roi_cls.base.errors import ImageReadError
from roi_cls.roi.image import MAX_BYTES, Image, decode_image, read_bytes, read_image
from tests.helpers.pictures import encode, noise

RGB: Image = noise(37, 29, 3, seed=2)
PICTURE = PillowImage.fromarray(RGB)


@pytest.mark.parametrize("name", ["ü 顔.png", "two\nlines.jpg", "b.txt", "no suffix"])
def test_content_decides_and_any_name_works(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encode(PICTURE, "PNG"))
    np.testing.assert_array_equal(read_image(path), RGB)
    path.write_bytes(b"")
    with pytest.raises(ImageReadError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value) == (
        f"Cannot read {str(path)!r}: it is empty (0 bytes). Remove it, or copy or export it again."
    )
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason) == (path, caught.value.reason)


def test_link_to_a_picture_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(PICTURE, "PNG"))
    (tmp_path / "link.png").symlink_to("a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "link.png"), RGB)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "file.png").write_bytes(b"x")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    table = {
        "folder.png": "it is a folder. Give the files in it.",
        "broken.png": "it is a link to a file that does not exist. "
        "Restore the file or remove the link.",
        "missing.png": "no such file. Check the path.",
        "loop.png": "too many levels of symbolic links. Check the path and the disk.",
        "file.png/a.png": "a part of its path is a file, and no archive. Check the path.",
        "a\0b.png": "embedded null byte. Check the path and the disk.",
        "huge.png": "it has 1073741825 bytes, over the limit of 1073741824. "
        "Give PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF files.",
    }
    for name, message in table.items():
        with pytest.raises(ImageReadError) as caught:
            read_bytes(tmp_path / name)
        assert str(caught.value) == f"Cannot read {str(tmp_path / name)!r}: {message}"


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageReadError, match="it is a pipe or device, not a file"):
            read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "permission denied. Give this user the right"),
        (OSError(5, "Input/output error"), "input/output error. Check the path and the disk."),
        (OSError("odd"), "odd. Check the path and the disk."),
    ],
)
def test_failing_disk_is_an_image_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def fail(path: Path) -> bytes:
        raise error

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", fail)  # root may read everything: chmod shows nothing
    with pytest.raises(ImageReadError) as caught:
        read_image(tmp_path / "a.png")
    assert message in str(caught.value)
    assert caught.value.__cause__ is error


def test_threads_read_at_the_same_time() -> None:
    files = [
        encode(PICTURE, "PNG"),
        encode(PICTURE, "TIFF"),
        encode(PICTURE, "BMP"),
        encode(PICTURE, "WEBP", lossless=True),
    ] * 6
    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda data: decode_image(data, "a"), files))
    assert all((image == RGB).all() for image in images)
    assert warnings.filters == filters
