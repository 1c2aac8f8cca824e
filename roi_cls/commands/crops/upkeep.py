"""The work behind ``roi-cls cache``: say what is there, prove it, give space back."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from roi_cls.cache.upkeep import (
    Part,
    Pruned,
    PruneJob,
    find_damaged,
    list_parts,
    measure_index,
    prune,
)
from roi_cls.console.terminal import note, progress, show
from roi_cls.console.words import (
    describe_recipe,
    format_bytes,
    format_span,
    parse_bytes,
    parse_span,
)


def tell_cache(cache: Path, as_json: bool) -> None:
    """Print what the cache holds, by recipe.

    Raises:
        CacheError: There is no cache in this folder.
    """
    parts = list_parts(cache)
    total, index = sum(part.bytes for part in parts), measure_index(cache)
    if as_json:
        rows = [part.to_dict() for part in parts]
        show(json.dumps({"bytes": total, "index_bytes": index, "parts": rows}))
        return
    now = time.time()
    for part in parts:
        show(_part_line(part, now))
    show(f"{format_bytes(total)} in {str(cache)!r}, besides an index of {format_bytes(index)}")


def _part_line(part: Part, now: float) -> str:
    described = {
        "detections": "what was seen in the pictures",
        "old": "left by an older roi-cls",
    }.get(part.kind, describe_recipe(part.recipe) if part.recipe else "recipe unreadable")
    return (
        f"{part.name:<16}  {part.kind:<10}  {part.entries:>8} entries  "
        f"{format_bytes(part.bytes):>8}  used {format_span(now - part.last_used)} ago  {described}"
    )


def verify_cache(cache: Path, as_json: bool) -> int:
    """Check every entry, name and remove the damaged ones; return how many there were.

    Raises:
        CacheError: An entry cannot be read or removed.
    """
    total = sum(part.entries for part in list_parts(cache) if part.kind != "old")
    damaged = []
    with progress("Checking", unit="entries") as advance:
        for path in find_damaged(cache, lambda done: advance(done, total, "")):
            damaged.append(str(path))
            if not as_json:
                show(f"damaged, removed: {path}")
    if as_json:
        show(json.dumps({"entries": total, "damaged": damaged}))
    else:
        end = "They are made again when next needed." if damaged else "All are sound."
        show(f"{total} entries checked, {len(damaged)} damaged. {end}")
    return len(damaged)


def choose_pruning(
    recipes: Sequence[str] | None, unused_for: str | None, max_size: str | None
) -> PruneJob:
    """Return what the options ask to remove.

    Raises:
        typer.BadParameter: They ask for nothing, or a value cannot be read.
    """
    if not (recipes or unused_for or max_size):
        raise typer.BadParameter("say what is to go: --recipe, --unused-for or --max-size")
    return PruneJob(
        tuple(recipes or ()),
        parse_span(unused_for) if unused_for else None,
        parse_bytes(max_size) if max_size else None,
    )


def prune_cache(cache: Path, pruning: PruneJob, dry_run: bool, as_json: bool) -> None:
    """Remove parts of the cache and print which.

    Raises:
        CacheError: There is no cache, or a part cannot be removed.
    """
    pruned = prune(cache, pruning, dry_run=dry_run)
    freed = sum(one.part.bytes for one in pruned if not one.in_use)
    for one in pruned:
        if one.in_use:
            note(f"kept, a run uses it: {one.part.kind} {one.part.name}")
    if as_json:
        show(json.dumps({"bytes": freed, "dry_run": dry_run, "parts": _pruned_rows(pruned)}))
        return
    now = time.time()
    for one in pruned:
        if not one.in_use:
            show(f"{'would remove' if dry_run else 'removed'}: {_part_line(one.part, now)}")
    show(f"{format_bytes(freed)} {'would be freed' if dry_run else 'freed'}")


def _pruned_rows(pruned: Sequence[Pruned]) -> list[dict[str, object]]:
    return [{**one.part.to_dict(), "in_use": one.in_use} for one in pruned]
