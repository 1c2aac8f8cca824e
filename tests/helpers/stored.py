"""What is written: the files of a cache, by its own words, and the fields of a prediction."""

from pathlib import Path

from roi_cls.cache.store import CROP_SUFFIX

CROP_FILES = f"*{CROP_SUFFIX}"
"""The pattern of their names."""
PREDICTION_FIELDS = [
    *("path", "status", "error", "label", "score", "probabilities", "unsure", "source", "reason"),
    *("box", "face_score", "faces", "per_face", "time_s", "frames", "threshold"),
    *("damaged", "color_profile", "roll", "runtime"),
]
"""Of a prediction's row, in order: a contract, so it is not read off the code."""


def stored_crops(cache: Path) -> list[Path]:
    """Return the files of crops below a folder, in order."""
    return sorted(cache.rglob(CROP_FILES))


def damage(folder: Path, pattern: str = CROP_FILES) -> None:
    """Turn one bit in the middle of the one file below a folder that fits; a crop, unless."""
    (path,) = folder.rglob(pattern)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def read_tree(cache: Path) -> dict[str, bytes]:
    """Return every file but the index and the drafts that a killed process left."""
    return {
        str(path.relative_to(cache)): path.read_bytes()
        for path in cache.rglob("*")
        if path.is_file() and "index" not in path.name and path.parent.name != "drafts"
    }
