"""What a cache holds, part by part; proving it undamaged; and giving space back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roi_cls.base.errors import BundleError, CacheError
from roi_cls.base.location import is_remote
from roi_cls.cache.database import database_files
from roi_cls.cache.index import check_index, forget_recipe, index_files
from roi_cls.cache.store import (
    FORMAT,
    RECIPE_FILE,
    claim,
    crops_folder,
    detections_folder,
    part_name,
    read_entry,
)
from roi_cls.roi import CropParams
from roi_cls.roi.params import RECIPE_VERSION

PartKind = Literal["crops", "detections", "old"]
_OLD = re.compile(r"v\d+")
_PART = re.compile(r"[0-9a-f]{16}")
_ENTRY = re.compile(r"[0-9a-f]{64}\.[a-z]+")
"""Of what lies in the folders only this is ours: file managers leave files there, too."""


@dataclass(frozen=True, slots=True)
class Part:
    """The crops or the detections of one recipe, or what an older roi-cls left."""

    kind: PartKind
    name: str
    """As ``part_name`` gives it; of an old form, its folder's."""
    folder: Path
    recipe: CropParams | None
    """Of crops; None where it cannot be read, and for detections."""
    entries: int
    bytes: int
    oldest: float | None
    """When the first entry was written, seconds since 1970; None: there is none."""
    last_used: float
    """When a run last used it, or an entry was written; seconds since 1970."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "recipe": None if self.recipe is None else self.recipe.to_dict(),
            "entries": self.entries,
            "bytes": self.bytes,
            "oldest": self.oldest,
            "last_used": self.last_used,
        }


def list_parts(cache: Path) -> list[Part]:
    """Return the parts of a cache: crops, then detections, then what older versions left.

    Raises:
        CacheError: There is no cache in this folder, or it cannot be read.
    """
    root = _find_root(cache)
    crops = [_read_part("crops", folder) for folder in _folders(crops_folder(root), _PART)]
    used: dict[str, float] = {}
    for part in crops:
        if part.recipe:
            name = part_name(part.recipe.detector_digest)
            used[name] = max(used.get(name, 0.0), part.last_used)
    detections = [
        _read_part("detections", folder, used.get(folder.name, 0.0))
        for folder in _folders(detections_folder(root), _PART)
    ]
    return [*crops, *detections, *(_read_part("old", folder) for folder in _old_folders(cache))]


def _find_root(cache: Path) -> Path:
    """Return the folder of this version's cache, which may not be there beside an older one.

    Raises:
        CacheError: There is neither, or the cache is remote.
    """
    if is_remote(cache):
        raise CacheError(
            f"Cannot look through the remote cache {str(cache)!r}: that is for caches on this "
            "machine. Use the store's own tools, such as lifecycle rules on the folder "
            f"{FORMAT}/crops."
        )
    root = cache / FORMAT
    if not root.is_dir() and not _old_folders(cache):
        raise CacheError(
            f"Cannot find a crop cache in {str(cache)!r}: there is no folder {FORMAT!r} in it. "
            "Name the cache with --cache DIR, or make one: roi-cls crops PATH --cache DIR"
        )
    return root


def measure_index(cache: Path) -> int:
    """Return the bytes of what only speeds runs up: it is in no part, and not pruned."""
    sizes = []
    for path in index_files(cache / FORMAT):
        for file in database_files(path):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(file.stat().st_size)
    return sum(sizes)


def find_damaged(cache: Path, observe: Callable[[int], None] = lambda done: None) -> Iterator[Path]:
    """Read every entry; yield the damaged ones, after removing them: the next use makes them anew.

    Args:
        cache: Folder of the cache.
        observe: Called with the number of entries read so far.

    Raises:
        CacheError: There is no cache, or an entry cannot be read or removed.
    """
    root = _find_root(cache)
    done = 0
    for parent in (crops_folder(root), detections_folder(root)):
        for part in _folders(parent, _PART):
            for path in _entries(part):
                done += 1
                if read_entry(path) is None and _remove(path):
                    yield path
                observe(done)
            recipe = part / RECIPE_FILE
            if _is_torn(recipe) and _remove(recipe):
                yield recipe
    # An index in a folder that cannot be written is only read, and then not even opened here.
    for path in index_files(root) if os.access(root, os.W_OK) else ():
        if not check_index(path):
            for file in database_files(path):
                _remove(file)
            yield path


def _folders(parent: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in _children(parent) if name.fullmatch(path.name) and path.is_dir()]


def _old_folders(cache: Path) -> list[Path]:
    return [path for path in _folders(cache, _OLD) if path.name != FORMAT]


def _children(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; nothing where it is not there, or no longer."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CacheError(
            f"Cannot read the cache folder {str(folder)!r}: {error.strerror}. "
            "Check its permissions or choose another folder with --cache DIR."
        ) from error


def _entries(part: Path) -> Iterator[Path]:
    """Yield the entry files of a part: they lie in folders of two digits."""
    for group in _children(part):
        yield from (path for path in _children(group) if _ENTRY.fullmatch(path.name))


def _read_part(kind: PartKind, folder: Path, used: float = 0.0) -> Part:
    entries, size, oldest = 0, 0, None
    for path in _files(folder) if kind == "old" else _entries(folder):
        with contextlib.suppress(FileNotFoundError):  # a run may write, another prune
            status = path.stat()
            entries, size = entries + 1, size + status.st_size
            oldest = status.st_mtime if oldest is None else min(oldest, status.st_mtime)
            used = max(used, status.st_mtime)
    recipe = None
    if kind == "crops":
        recipe = _read_recipe(folder / RECIPE_FILE)
        with contextlib.suppress(OSError):  # a run notes there when it uses the part
            used = max(used, (folder / RECIPE_FILE).stat().st_mtime)
    return Part(kind, folder.name, folder, recipe, entries, size, oldest, used)


def _files(folder: Path) -> Iterator[Path]:
    for child in _children(folder):
        if child.is_dir() and not child.is_symlink():
            yield from _files(child)
        else:
            yield child


def _read_recipe(path: Path) -> CropParams | None:
    try:
        recipe = CropParams.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError, BundleError):
        return None
    return recipe if recipe.digest.startswith(path.parent.name) else None


def _is_torn(path: Path) -> bool:
    """Whether a recipe is there and is damaged; one that another version wrote is not."""
    try:
        version = json.loads(path.read_bytes()).get("version")
    except OSError:
        return False
    except (ValueError, AttributeError):
        return True
    return version == RECIPE_VERSION and _read_recipe(path) is None


def _remove(path: Path) -> bool:
    """Remove a file; return whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _removal_error(path, error) from error
    return True


def _removal_error(path: Path, error: OSError) -> CacheError:
    """Return what to raise where something in the cache cannot be removed."""
    return CacheError(
        f"Cannot remove {str(path)!r}: {error.strerror or error}. Check the permissions of the "
        "cache's folders, or let their owner run this."
    )


@dataclass(frozen=True, slots=True)
class PruneJob:
    """Which parts are to go."""

    recipes: tuple[str, ...] = ()
    """Parts by name, or by a beginning that no other part's name has."""
    unused_s: float | None = None
    """Parts that no run used for so many seconds."""
    max_bytes: int | None = None
    """Then the longest unused ones, until so much is left."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of a part that was to go."""

    part: Part
    in_use: bool
    """A run uses it: it was kept."""


def prune(
    cache: Path, job: PruneJob, *, dry_run: bool = False, now: float | None = None
) -> list[Pruned]:
    """Remove parts that are in no run's use; return what was to go.

    Args:
        cache: Folder of the cache.
        job: Which parts are to go.
        dry_run: Remove nothing.
        now: Seconds since 1970; None: the clock's.

    Raises:
        CacheError: There is no cache in this folder, no part of a given name in it, or a part
            cannot be removed.
    """
    root = _find_root(cache)
    parts = list_parts(cache)
    in_use = {part.name for part in parts if not _is_free(part, root)}
    done: list[Pruned] = []
    for part in choose_parts(parts, job, time.time() if now is None else now, in_use):
        with _claim(part, root) as is_free:
            if is_free and not dry_run:
                _remove_part(part, root)
            done.append(Pruned(part, not is_free))
    return done


def choose_parts(
    parts: Sequence[Part], job: PruneJob, now: float, in_use: Collection[str] = ()
) -> list[Part]:
    """Return the parts to remove, the longest unused first; those in use among them stay.

    Detections go with the last crops that were made from them, and not before, unless they are
    named. What is in use makes no room: more of the others go then.

    Raises:
        CacheError: No part, or more than one, has a given name.
    """
    named = [_find_named(parts, name) for name in job.recipes]
    choice = _Choice(parts, in_use)
    # Detections are used when their crops are, and stand behind them: by then it is known whether
    # those stay.
    oldest_first = sorted(parts, key=lambda part: part.last_used)
    for part in oldest_first:
        is_old = job.unused_s is not None and part.last_used < now - job.unused_s
        if part in named or (is_old and not choice.is_needed(part)):
            choice.chosen.append(part)
    choice.add_left_alone()
    for part in oldest_first:
        if job.max_bytes is None or sum(p.bytes for p in choice.left) <= job.max_bytes:
            break
        if part not in choice.chosen and not choice.is_needed(part):
            choice.chosen.append(part)
            choice.add_left_alone()
    return choice.chosen


class _Choice:
    """The parts that are to go, as they are chosen."""

    def __init__(self, parts: Sequence[Part], in_use: Collection[str]) -> None:
        self.chosen: list[Part] = []
        self._parts = parts
        self._in_use = in_use

    @property
    def left(self) -> list[Part]:
        """What stays: the parts that are not chosen, or in use."""
        return [p for p in self._parts if p not in self.chosen or p.name in self._in_use]

    def is_needed(self, part: Part) -> bool:
        """Whether these are detections from which crops that stay were made, as far as is known."""
        return part.kind == "detections" and any(
            crops.kind == "crops" and (crops.recipe is None or _uses(crops, part))
            for crops in self.left
        )

    def add_left_alone(self) -> None:
        """Choose the detections whose last crops go."""
        self.chosen += [
            part
            for part in self._parts
            if part not in self.chosen
            and any(_uses(crops, part) for crops in self.chosen)
            and not self.is_needed(part)
        ]


def _find_named(parts: Sequence[Part], name: str) -> Part:
    found = [part for part in parts if name and part.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CacheError(
            f"Cannot tell which part of the cache {name!r} is: {', '.join(p.name for p in found)} "
            "begin so. Give more of the name."
        )
    raise CacheError(
        f"Cannot find {name!r} in the cache: no part has a name that begins so. "
        "`roi-cls cache info` lists the names."
    )


def _uses(crops: Part, detections: Part) -> bool:
    return crops.recipe is not None and part_name(crops.recipe.detector_digest) == detections.name


def _is_free(part: Part, root: Path) -> bool:
    with _claim(part, root) as is_free:
        return is_free


def _claim(part: Part, root: Path) -> contextlib.AbstractContextManager[bool]:
    # Older versions held nothing, and a cache of theirs must not get a folder of ours by this.
    return contextlib.nullcontext(True) if part.kind == "old" else claim(root, part.name)


def _remove_part(part: Part, root: Path) -> None:
    try:
        shutil.rmtree(part.folder)
    except OSError as error:
        raise _removal_error(part.folder, error) from error
    if part.kind == "crops":
        for path in index_files(root):
            forget_recipe(path, part.name)
