"""Zip archives: any member at any time, by the directory at their end."""

from __future__ import annotations

import copy
import lzma
import zipfile
import zlib
from bz2 import BZ2Decompressor
from collections.abc import Sequence
from functools import partial
from stat import S_ISLNK
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

_STEP = 4096  # bytes that LZMA is asked for at once: it decompresses so many packed ones, whole
_ENCRYPTED = 1  # bit of a member's flags
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)


class ZipArchive(Archive):
    """A zip archive with stored or compressed members."""

    def __init__(self, file: BinaryIO) -> None:
        """Read the directory; the file is closed with the archive.

        Raises:
            ArchiveError: There is none: the file is cut, or no zip archive.
        """
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
        except (*_DAMAGE, NotImplementedError) as error:
            reason = f"it is no zip archive, or not whole ({_words(error)})"
            raise ArchiveError(reason, AGAIN) from error
        members = [one for one in self._zip.infolist() if not one.filename.endswith("/")]
        # Some programs of Windows separate folders by its own character.
        names = [
            clean_name(name if "/" in name else name.replace("\\", "/"))
            for name in (member.filename for member in members)
        ]
        self._members = dict(zip(map(FreeNames().take, names), members, strict=True))

    def names(self) -> Sequence[str]:
        """Return the members' names in the order of the directory."""
        return list(self._members)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return a member's bytes; they are those that its checksum belongs to."""
        member = self._members.get(name)
        if member is None:
            raise MissingMemberError(name)
        check_length(member.file_size, max_bytes)
        if member.flag_bits & _ENCRYPTED:
            raise ArchiveError("it is encrypted", "Unpack the archive with its password.")
        if S_ISLNK(member.external_attr >> 16):
            raise ArchiveError("it is a link, which is not followed", "Pack the file itself.")
        try:
            return self._read(member)
        except NotImplementedError as error:  # a method of compression, or a patch
            reason = f"it is compressed in a way that is not read ({_words(error)})"
            raise ArchiveError(reason, "Unpack the archive, or pack it anew.") from error
        except _DAMAGE as error:
            raise ArchiveError(f"it is damaged ({_words(error)})", AGAIN) from error

    def _read(self, member: zipfile.ZipInfo) -> bytes:
        """Return what a member holds, never more than it says: a few bytes may hold gigabytes."""
        if member.compress_type == zipfile.ZIP_BZIP2:
            return self._read_bzip2(member)
        step = _STEP if member.compress_type == zipfile.ZIP_LZMA else member.file_size + 1
        with self._zip.open(member) as file:
            return b"".join(iter(partial(file.read, step), b""))

    def _read_bzip2(self, member: zipfile.ZipInfo) -> bytes:
        """Do the same where zipfile would decompress all before it counts."""
        packed = copy.copy(member)
        packed.compress_type = zipfile.ZIP_STORED
        packed.file_size = member.compress_size
        del packed.CRC  # it is that of what is decompressed
        with self._zip.open(packed) as file:
            data = BZ2Decompressor().decompress(file.read(), member.file_size + 1)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {member.filename!r}")
        return data

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
