"""Pictures out of a request's body, which is refused as soon as it is too much. Decodes none.

They are held in memory alone: frameworks put larger uploads into temporary files.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from roi_cls.commands.serve.options import ServerOptions
from roi_cls.console.words import format_bytes

UNNAMED = "-"
"""What a picture without a name is called, as by ``roi-cls predict -``."""
RETRY_AFTER_S = 1
_MOST_NAME = 255
_READ_ON = 4
"""A body that is too large is read up to so many times the limit, and thrown away: whoever is
still sending would take an answer for a broken connection."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it came."""

    name: str
    data: bytes


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


async def read_uploads(request: Request, options: ServerOptions, room: Room) -> list[Upload]:
    """Return the pictures of a request: the files of a form, or its body as it is.

    Raises:
        HTTPException: 400 no picture, or a broken form; 408 it comes too slowly; 413 too many
            bytes or pictures; 503 no memory is left for it.
    """
    async with _in_time(options.timeout_s):
        uploads = await _read(request, options, room)
    if not uploads:
        raise HTTPException(
            400, "There is no picture in the request. Send one as the body, or files in a form."
        )
    return uploads


async def read_body(request: Request, most: int, timeout_s: float) -> bytes:
    """Return a body of at most so many bytes.

    Raises:
        HTTPException: 408 it comes too slowly; 413 it is larger.
    """
    async with _in_time(timeout_s):
        return b"".join([chunk async for chunk in _chunks(request, most)])


def is_form(request: Request) -> bool:
    """Whether the request's pictures come as the files of a form."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def _read(request: Request, options: ServerOptions, room: Room) -> list[Upload]:
    chunks = _taking(room, _chunks(request, options.max_bytes))
    if is_form(request):
        return await _read_form(request.headers["content-type"], chunks, options)
    data = bytearray()
    async for chunk in chunks:
        data += chunk
    name = request.query_params.get("name", UNNAMED)[:_MOST_NAME] or UNNAMED
    return [Upload(name, bytes(data))] if data else []


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise HTTPException(
            408, f"The request did not arrive within {seconds:g} s. Send less at once."
        ) from None


async def _taking(room: Room, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        room.take(len(chunk))
        yield chunk


async def _chunks(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes, up to the limit, whatever its header says of its length."""
    told = request.headers.get("content-length", "")
    size = int(told) if told.isascii() and told.isdigit() else 0
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if max(seen, size) <= most:
            yield chunk
        elif max(seen, size) > _READ_ON * most:
            break
    if max(seen, size) > most:
        raise HTTPException(
            413, f"The request is larger than {format_bytes(most)}. Send less at once."
        )


async def _read_form(
    content_type: str, chunks: AsyncIterator[bytes], options: ServerOptions
) -> list[Upload]:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    form = _Form(options.max_pictures)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]  # a dict of the callbacks that are of use here
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, f"The form is broken: {error}. Send it again.") from None
    return form.uploads


@dataclass(slots=True)
class _Form:
    """The files of a form, filled by the parser's callbacks; other fields are passed over."""

    most: int
    uploads: list[Upload] = field(default_factory=list)
    _header: bytes = b""
    _value: bytes = b""
    _name: str | None = None
    _data: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._name, self._data, self._header, self._value = None, bytearray(), b"", b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            # latin-1 there and back: the parser's way to keep bytes that may be UTF-8
            words = parse_options_header(self._value.decode("latin-1"))[1]
            # ``filename*``, which forms may not use and some do, is not read, but no name.
            if b"filename" in words or b"filename*" in self._value.lower():
                name = words.get(b"filename", b"").decode("utf-8", "replace")
                self._name = name[:_MOST_NAME] or UNNAMED
        self._header, self._value = b"", b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._name is not None:
            self._data += data[start:end]

    def _end(self) -> None:
        if self._name is None:
            return
        if len(self.uploads) == self.most:
            raise HTTPException(
                413, f"The request holds more than {self.most} pictures. Send them in parts."
            )
        self.uploads.append(Upload(self._name, bytes(self._data)))
