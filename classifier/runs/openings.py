"""How often a run has been scored on the same test pictures: each time costs them some honesty.

Settings that are chosen by test scores flatter the test scores. Nothing here forbids it; it is
counted, so that a reader can see it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from roi_cls.base.atomic import write_atomically
from roi_cls.base.errors import BundleError


@dataclass(frozen=True, slots=True)
class Opening:
    """One evaluation of a run on labelled pictures."""

    time: str
    """ISO 8601 with the offset from UTC."""
    data_digest: str
    """Of the pictures' bytes and labels, in any order."""
    images: int
    """Pictures scored."""
    version: str
    """Of roi-cls."""
    metrics: Mapping[str, float | None]
    """What was seen: a value by the metric's name; null: undefined."""


def open_test(
    log: Path,
    sha256: Sequence[str],
    labels: Sequence[str],
    metrics: Mapping[str, float | None],
    *,
    now: datetime,
    version: str,
    known: Sequence[Opening] = (),
) -> int:
    """Add an opening to the log and return how many there are of these pictures, it included.

    log: one JSON object a line, the oldest first; made if missing.
    sha256, labels: (N,) of each picture scored.
    known: earlier ones that are in another log.

    Raises:
        BundleError: The log is damaged.
        StorageError: It cannot be written.
    """
    pairs = sorted(zip(sha256, labels, strict=True))
    digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    earlier = read_openings(log)
    latest = Opening(now.isoformat(timespec="seconds"), digest, len(pairs), version, dict(metrics))
    lines = [json.dumps(asdict(opening), allow_nan=False) for opening in (*earlier, latest)]
    write_atomically(log, ("\n".join(lines) + "\n").encode())
    return sum(opening.data_digest == digest for opening in (*known, *earlier)) + 1


def read_openings(log: Path) -> tuple[Opening, ...]:
    """Return the openings in the log, the oldest first; none where there is no log.

    Raises:
        BundleError: The log is damaged.
    """
    try:
        lines = log.read_bytes().decode().splitlines()
        return tuple(_opening_from(json.loads(line)) for line in lines)
    except FileNotFoundError:
        return ()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"Cannot read {str(log)!r}, the record of how often the test pictures were scored: "
            f"{type(error).__name__}: {error}. Restore the file, or move it away to begin anew."
        ) from error


def warn_of_openings(count: int) -> str | None:
    """Return what to tell a user whose test pictures were scored before; None the first time."""
    if count <= 1:
        return None
    times = "once" if count == 2 else f"{count - 1} times"
    return (
        f"These test pictures were scored {times} before by this run. Choose settings on "
        "validation or out-of-fold scores: chosen on the test part, they flatter it."
    )


def _opening_from(values: dict[str, Any]) -> Opening:
    return Opening(
        time=str(values["time"]),
        data_digest=str(values["data_digest"]),
        images=int(values["images"]),
        version=str(values["version"]),
        metrics=dict(values["metrics"]),
    )
