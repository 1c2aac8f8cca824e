"""What every kind of archive can do: name its members in their order, give the bytes of one.

And what kinds have in common: names made safe and distinct, labels in files beside a picture.
"""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Sequence

from roi_cls.base.closing import Closing
from roi_cls.base.errors import RoiClsError

AGAIN = "Copy, download or make it again."
_LABEL_SUFFIXES = (".cls", ".json")
_LABEL_FIELDS = ("label", "cls", "class")
_MOST_LABEL_BYTES = 2**20  # of a file with a label: more is something else


class ArchiveError(RoiClsError):
    """Carries reason and remedy to the one place that knows the path."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class MissingMemberError(ArchiveError):
    """The archive has no such member."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no {name!r} in the archive", "Check the name.")


class Archive(Closing):
    """An opened archive, for one thread at a time."""

    fault: ArchiveError | None = None
    """Why members are missing at the end; known once all names are."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the members' names in their order, each once; folders are no members."""

    @abstractmethod
    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a member's bytes.

        Raises:
            ArchiveError: There is no such member, it cannot be read, or it has more than
                ``max_bytes``.
        """

    def let_go(self) -> None:
        """Free the memory of what is kept for what may be asked for next."""

    def read_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return the labels that the archive itself states for these members, where it does.

        Of a zip or a tar: ``key.cls`` or ``key.json`` beside ``key.jpg``, as WebDataset has them.

        Raises:
            ArchiveError: All of them are together, and cannot be read.
        """
        wanted = {key_of(name) for name in names}
        found: dict[str, str] = {}
        for name in self.names():
            key = key_of(name)
            if key in wanted and name.lower().endswith(_LABEL_SUFFIXES):
                with contextlib.suppress(ArchiveError):  # told as a label that is missing
                    label = _read_label(name, self.read(name, _MOST_LABEL_BYTES))
                    if label is not None and (key not in found or name.lower().endswith(".cls")):
                        found[key] = label
        return {name: found[key] for name in names if (key := key_of(name)) in found}


def key_of(name: str) -> str:
    """Return what the files of one sample share: all up to the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _read_label(name: str, data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig").strip()
        if not name.lower().endswith(".json"):
            return text or None
        values = json.loads(text)
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or one of very many brackets
        return None
    if not isinstance(values, dict):
        return None
    stated = (values[field] for field in _LABEL_FIELDS if isinstance(values.get(field), int | str))
    return next((str(value) for value in stated), None)


def clean_name(name: str) -> str:
    """Return a member's name as a path below its archive, whatever the archive calls it.

    Without a slash at its beginning, ``.``, ``..`` (which would leave the archive) and ``//``.
    """
    parts = [part for part in name.replace("\0", "_").split("/") if part not in ("", ".")]
    return "/".join("__" if part == ".." else part for part in parts) or "_"


class FreeNames:
    """Names that were given out, each once: archives may repeat names."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        """Each name, and the number that was last put into it."""

    def take(self, name: str) -> str:
        """Return the name, or where it is taken ``a~2.jpg``, ``a~3.jpg``."""
        key, free, number = key_of(name), name, self._taken.get(name, 1)
        while free in self._taken:
            number += 1
            free = f"{key}~{number}{name[len(key) :]}"
        self._taken[free] = 1
        if free != name:  # not tried again: a name that repeats ever so often takes no longer
            self._taken[name] = number
        return free


def check_length(size: int, max_bytes: int) -> None:
    """Raise ``ArchiveError`` where a member is larger than may be read."""
    if size > max_bytes:
        raise ArchiveError(
            f"it has {size} bytes, over the limit of {max_bytes}", "Give pictures, not other files."
        )
