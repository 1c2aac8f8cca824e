"""Videos that tests draw, and change by a few bytes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.pictures import save_clip

CODECS = {
    ".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".webm": "VP80",
    ".ts": "mp2v", ".vob": "MPG2", ".wmv": "WMV2", ".flv": "FLV1",
}  # fmt: skip


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write 25 frames, 64 x 48 px, ten a second: red grows from the left, the top is white."""

    def make(suffix: str) -> Path:
        path = tmp_path_factory.mktemp("video") / f"clip{suffix}"
        frames = np.zeros((25, 48, 64, 3), np.uint8)
        for i, frame in enumerate(frames):
            frame[:, : 2 * i] = (255, 0, 0)
            frame[:10] = 255
        return save_clip(path, frames, 10, CODECS[suffix])

    return make
