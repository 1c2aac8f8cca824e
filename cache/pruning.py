"""Give space back: which parts of a cache go, by name, age or size, and which a run still uses."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from roi_cls.base.errors import CacheError
from roi_cls.cache.index import forget_recipe, index_files
from roi_cls.cache.inventory import Part, find_root, list_parts, removal_error
from roi_cls.cache.lease import claim


@dataclass(frozen=True, slots=True)
class Pruning:
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
    cache: Path, pruning: Pruning, *, dry_run: bool = False, now: float | None = None
) -> list[Pruned]:
    """Remove parts that are in no run's use; return what was to go.

    Args:
        cache: Folder of the cache.
        pruning: Which parts.
        dry_run: Remove nothing.
        now: Seconds since 1970; None: the clock's.

    Raises:
        CacheError: There is no cache in this folder, no part of a given name in it, or a part
            cannot be removed.
    """
    root = find_root(cache)
    parts = list_parts(cache)
    in_use = {part.name for part in parts if not _is_free(part, root)}
    done: list[Pruned] = []
    for part in choose_parts(parts, pruning, time.time() if now is None else now, in_use):
        with _claim(part, root) as is_free:
            if is_free and not dry_run:
                _remove_part(part, root)
            done.append(Pruned(part, not is_free))
    return done


def choose_parts(
    parts: Sequence[Part], pruning: Pruning, now: float, in_use: Collection[str] = ()
) -> list[Part]:
    """Return the parts to remove, the longest unused first; those in use among them stay.

    Detections go with the last crops that were made from them, and not before, unless they are
    named. What is in use makes no room: more of the others go then.

    Raises:
        CacheError: No part, or more than one, has a given name.
    """
    named = [_find_named(parts, name) for name in pruning.recipes]
    choice = _Choice(parts, in_use)
    # Detections are used when their crops are, and stand behind them: by then it is known whether
    # those stay.
    oldest_first = sorted(parts, key=lambda part: part.last_used)
    for part in oldest_first:
        is_old = pruning.unused_s is not None and part.last_used < now - pruning.unused_s
        if part in named or (is_old and not choice.is_needed(part)):
            choice.chosen.append(part)
    choice.add_left_alone()
    for part in oldest_first:
        if pruning.max_bytes is None or sum(p.bytes for p in choice.left) <= pruning.max_bytes:
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
    return crops.recipe is not None and crops.recipe.detector_digest[:16] == detections.name


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
        raise removal_error(part.folder, error) from error
    if part.kind == "crops":
        for path in index_files(root):
            forget_recipe(path, part.name)
