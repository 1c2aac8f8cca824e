"""Tar archives, also compressed ones: from the front on, as far as it takes to find a member.

There is no directory: each member tells where the next begins. A compressed archive is a stream:
asking for members in their order decompresses it once, going back begins anew.
"""

from __future__ import annotations

import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from roi_cls.roi.archives.archive import (
    AGAIN,
    Archive,
    ArchiveError,
    FreeNames,
    MissingMemberError,
    check_length,
    clean_name,
)

# RecursionError: headers that only say more of the next one, thousands of them in a row.
_DAMAGE = (
    tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RecursionError,
)  # fmt: skip
_MOST_LINKS = 8  # that lead to each other


class TarArchive(Archive):
    """A tar archive, plain or compressed by gzip, bzip2 or xz."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the first header; the file is closed with the archive.

        Raises:
            ArchiveError: There is none: the file is cut, or no tar archive.
        """
        self._file = file
        self._members: dict[str, tarfile.TarInfo] = {}
        self._free = FreeNames()
        self._is_known = False
        """Whether the end was reached."""
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115  # reason: closed by close
        except _DAMAGE as error:
            raise ArchiveError("it is no tar archive, or not whole", AGAIN) from error

    def names(self) -> Sequence[str]:
        """Return the members' names in their order; the archive is read to its end for this."""
        while not self._is_known:
            self._go_on()
        return list(self._members)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a member's bytes; of a link within the archive, those it leads to."""
        member = self._follow(self._find(name), name)
        check_length(member.size, max_bytes)
        try:
            content = self._tar.extractfile(member)
            data = content.read() if content else b""
        except _DAMAGE as error:
            raise ArchiveError("the archive ends or is damaged within it", AGAIN) from error
        return data

    def close(self) -> None:
        """Close the file."""
        self._tar.close()
        self._file.close()

    def _find(self, name: str) -> tarfile.TarInfo:
        while name not in self._members and not self._is_known:
            self._go_on()
        if name not in self._members:
            raise self.fault or MissingMemberError(name)
        return self._members[name]

    def _go_on(self) -> None:
        """Read one more header."""
        try:
            member = self._tar.next()
            if member is None:
                self._is_known = True
                self._check_end()
        except _DAMAGE as error:
            self._is_known = True
            self.fault = self._cut_off(error)
            return
        if member is not None and not member.isdir():
            self._members[self._free.take(clean_name(member.name))] = member

    def _check_end(self) -> None:
        """Tell an end from damage, which tarfile takes for one."""
        stream = self._tar.fileobj
        if stream is None:
            return
        stream.seek(self._tar.offset)
        block = stream.read(tarfile.BLOCKSIZE)
        if block.strip(b"\0"):
            self.fault = self._cut_off(None)

    def _cut_off(self, error: Exception | None) -> ArchiveError:
        after = f"after {next(reversed(self._members))!r}" if self._members else "at its beginning"
        why = f" ({' '.join(str(error).split())})" if error and str(error) else ""
        return ArchiveError(
            f"it is cut or damaged {after}{why}: what follows, if anything, is not read", AGAIN
        )

    def _follow(self, member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
        for _ in range(_MOST_LINKS):
            if member.isreg():
                return member
            if not (member.islnk() or member.issym()):
                raise ArchiveError("it is a pipe or device, not a file", "Pack files.")
            folder = posixpath.dirname(member.name) if member.issym() else ""
            target = clean_name(posixpath.normpath(posixpath.join(folder, member.linkname)))
            try:
                member = self._find(target)
            except MissingMemberError as error:
                reason = f"it is a link to {member.linkname!r}, which is not in the archive"
                raise ArchiveError(reason, "Pack the file itself.") from error
        raise ArchiveError(f"{name!r} is a link that leads to itself", "Pack the file itself.")
