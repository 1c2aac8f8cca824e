"""A request's body as it comes: no larger and no slower than it may, and unpacked."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from fastapi import HTTPException, Request

from roi_cls.console.words import format_bytes

RETRY_AFTER_S = 1
PACKINGS = ("gzip", "deflate")
"""Content encodings that are understood; for Accept-Encoding."""
_READ_ON = 4
"""A body that is too large is read up to so many times the limit, and thrown away: whoever is
still sending would take an answer for a broken connection."""
_PIECE = 2**18  # bytes that are unpacked at once


def busy(detail: str) -> HTTPException:
    """Return the answer that asks to come again."""
    return HTTPException(503, detail, {"Retry-After": str(RETRY_AFTER_S)})


class Held:
    """How many bytes of requests are in memory, and how many may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.bytes = 0

    @contextmanager
    def room(self) -> Iterator[Room]:
        """Give what a request takes its memory from; it is given back at the end."""
        room = Room(self)
        try:
            yield room
        finally:
            self.bytes -= room.taken

    def take(self, size: int) -> None:
        """Count so many bytes more. Raises a 503 where there is no room for them."""
        if self.bytes + size > self._most:
            raise busy("The server holds as many bytes as it may. Try again soon.")
        self.bytes += size


@dataclass(slots=True)
class Room:
    """What one request holds."""

    held: Held
    taken: int = 0

    def take(self, size: int) -> None:
        """Count so many bytes more."""
        self.held.take(size)
        self.taken += size


def media_type(request: Request) -> str:
    """Return what the body says that it is, without parameters; empty: it does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, most: int, timeout_s: float) -> bytes:
    """Return a body of at most so many bytes, unpacked.

    Raises:
        HTTPException: 400 it is not packed as it says; 408 it comes too slowly; 413 it is larger;
            415 it is packed in a way that is not understood.
    """
    async with arriving_within(timeout_s):
        return b"".join([piece async for piece in read_pieces(request, most)])


@asynccontextmanager
async def arriving_within(seconds: float) -> AsyncIterator[None]:
    """Raise a 408 where the block takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise HTTPException(
            408, f"The request did not arrive within {seconds:g} s. Send less at once."
        ) from None


async def read_pieces(
    request: Request, most: int, told: int | None = None, room: Room | None = None
) -> AsyncIterator[bytes]:
    """Yield the body as it comes, unpacked, up to a limit that holds before and after that.

    Args:
        request: Whose body it is, packed as its Content-Encoding says.
        most: Bytes.
        told: The limit in what is told to the sender; None: the same.
        room: What the memory is taken from.

    Raises:
        HTTPException: As for ``read_body``; 503 there is no memory left.
    """
    limit = _Limit(most, told or most)
    unpack = _choose_unpacking(request)
    async for chunk in _read_chunks(request, limit):
        # A small body may hold a large one: what is beyond the limit is not even unpacked.
        for piece in unpack(chunk) if unpack else (chunk,):
            if not limit.allows(len(piece)):
                break
            if room:
                room.take(len(piece))
            yield piece
    limit.check()
    if unpack:
        unpack.check_end()


@dataclass(slots=True)
class _Limit:
    most: int
    told: int
    unpacked: int = 0
    is_passed: bool = False

    def allows(self, size: int) -> bool:
        self.unpacked += size
        self.is_passed |= self.unpacked > self.most
        return not self.is_passed

    def check(self) -> None:
        if self.is_passed:
            raise HTTPException(
                413, f"The request is larger than {format_bytes(self.told)}. Send less at once."
            )


async def _read_chunks(request: Request, limit: _Limit) -> AsyncIterator[bytes]:
    """Yield the body as it comes, up to the limit, whatever its header says of its length."""
    told = request.headers.get("content-length", "")
    size = int(told) if told.isascii() and told.isdigit() else 0
    limit.is_passed = size > limit.most
    if request.headers.get("expect", "").lower() == "100-continue":
        limit.check()  # whoever asks before sending need not send for nothing
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        limit.is_passed |= seen > limit.most
        if not limit.is_passed:
            yield chunk
        elif max(seen, size) > _READ_ON * limit.most:
            break


def _choose_unpacking(request: Request) -> _Unpacking | None:
    told = request.headers.get("content-encoding", "").strip().lower()
    if told in ("", "identity"):
        return None
    if told in ("gzip", "x-gzip"):
        return _Unpacking("gzip", _begin_gzip)
    if told == "deflate":
        return _Unpacking("deflate", _begin_deflate)
    known = ", ".join(PACKINGS)
    raise HTTPException(
        415,
        f"The server does not understand Content-Encoding {told[:99]!r}. Send the body as it is, "
        f"or packed once by one of: {known}.",
        {"Accept-Encoding": known},
    )


class _Unpacking:
    """Unpacks a body as it comes, in pieces of bounded size."""

    def __init__(self, name: str, begin: Callable[[bytes], zlib._Decompress]) -> None:
        self._name, self._begin = name, begin
        self._stream: zlib._Decompress | None = None
        self._rest = b""

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk holds."""
        self._rest += chunk
        is_full = False  # then more may be waiting, though no bytes are left
        while self._rest or is_full:
            if self._stream is None:
                if len(self._rest) < 2:  # the first two bytes say what it is
                    return
                self._stream = self._begin(self._rest)
            try:
                piece = self._stream.decompress(self._rest, _PIECE)
            except zlib.error:
                raise self._broken("its bytes are not of that form") from None
            self._rest, is_full = self._stream.unconsumed_tail, len(piece) == _PIECE
            if piece:
                yield piece
            if self._stream.eof:
                self._rest, is_full = self._stream.unused_data, False
                if self._rest and self._name != "gzip":  # which may be in several parts
                    raise self._broken("bytes follow after its end")
                if self._rest:
                    self._stream = None

    def check_end(self) -> None:
        """Raise a 400 where more had to come."""
        if self._rest or (self._stream and not self._stream.eof):
            raise self._broken("it ends too early")

    def _broken(self, why: str) -> HTTPException:
        return HTTPException(
            400,
            f"The body is not packed by {self._name}, as its Content-Encoding says: {why}. "
            "Pack it again, or send it as it is without that header.",
        )


def _begin_gzip(data: bytes) -> zlib._Decompress:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def _begin_deflate(data: bytes) -> zlib._Decompress:
    """Begin with zlib's form, which is meant, or the bare one, which some send."""
    is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
