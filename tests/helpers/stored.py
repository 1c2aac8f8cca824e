"""What lies in a cache's folder, by the cache's own words for it."""

from pathlib import Path

from roi_cls.cache.store import CROP_SUFFIX

CROP_FILES = f"*{CROP_SUFFIX}"
"""The pattern of their names."""


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
