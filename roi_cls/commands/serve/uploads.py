"""Pictures out of a request: its body as it is, the files of a form, or base64 in JSON.

They are held in memory alone: frameworks put larger uploads into temporary files. None is decoded.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException, Request
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from roi_cls.commands.serve.bodies import Room, arriving_within, media_type, read_pieces
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.console.words import format_bytes
from roi_cls.roi.image_header import UndecodableError, sniff_kind

JSON, FORM = "application/json", "multipart/form-data"
UNNAMED = "-"
"""What a picture without a name is called, as by ``roi-cls predict -``."""
_MOST_NAME = 255
_SEND_FILE = "Send the file itself, like curl -F file=@picture.png."
_SEND_JSON = 'Send {"image": "<base64>"}, or {"images": ["<base64>", …]}.'
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANKS = b" \t\n\r\v\f"
_SPARE = 2**12
"""Parts of a form, and values of a JSON body, beyond those that its pictures may need: a body of
nothing else packs well, and each of them takes many times its own bytes and time."""
_MISNAMED = (
    (re.compile(rb'\s*\{\s*"'), "JSON", f"Send it with Content-Type: {JSON}."),
    (
        re.compile(rb"--[^\r\n]{1,300}\r?\ncontent-disposition:", re.IGNORECASE),
        "a form",
        f"Send it with Content-Type: {FORM} and its boundary.",
    ),
    (
        re.compile(rb"data:[a-z/+]*;base64,|iVBORw0KGgo|/9j/"),
        "base64",
        f"Send the picture's own bytes, or JSON: {_SEND_JSON}",
    ),
    (re.compile(rb"[A-Za-z_]\w{0,40}=[\w%./+@-]"), "a field with text", _SEND_FILE),
)
"""What a body is that is sent as a picture and is none; what to do."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it came."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Uploads:
    """The pictures of a request; one at least."""

    pictures: Sequence[Upload]
    is_list: bool
    """Whether they came as a list, and are answered by one."""

    @property
    def only(self) -> Upload:
        """The one picture. Raises a 400 where there are more."""
        if len(self.pictures) != 1:
            raise HTTPException(
                400, f"There are {len(self.pictures)} pictures in the request. Send one."
            )
        return self.pictures[0]


def accepted(options: ServerOptions, *, many: bool) -> dict[str, Any]:
    """Return what OpenAPI says of a body with pictures, which is read by hand: to stop in time.

    Args:
        options: Say how many pictures there may be.
        many: Whether there may be several.
    """
    file: dict[str, Any] = {"type": "string", "format": "binary"}
    packed = {
        "type": "string",
        "format": "byte",
        "minLength": 1,
        "description": "The picture's bytes as base64, or as a data: URL.",
    }
    name = {"type": ["string", "null"], "description": "What it is called."}
    one = _closed_object({"image": packed, "name": name}, ["image"])
    if not many:
        files, json = {"file": file}, one
    else:
        several: dict[str, Any] = {"type": "array", "minItems": 1, "maxItems": options.max_pictures}
        files = {"files": {**several, "items": file}}
        listed = _closed_object(
            {"images": {**several, "items": {"anyOf": [packed, one]}}}, ["images"]
        )
        json = {"anyOf": [one, listed]}
    form = {"type": "object", "properties": files, "required": [*files]}
    kinds = {"image/*": file, "application/octet-stream": file, FORM: form, JSON: json}
    content = {kind: {"schema": schema} for kind, schema in kinds.items()}
    return {"requestBody": {"required": True, "content": content}}


def _closed_object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


async def read_uploads(request: Request, options: ServerOptions, room: Room) -> Uploads:
    """Return the pictures of a request.

    Raises:
        HTTPException: 400 no picture, or a broken form or JSON; 408 it comes too slowly; 413 too
            many bytes or pictures; 415 packed by what is not understood; 503 no memory is left.
    """
    async with arriving_within(options.timeout_s):
        kind = media_type(request)
        if kind == JSON:
            return await _read_json(request, options, room)
        chunks = read_pieces(request, options.max_bytes, room=room)
        if kind == FORM:
            return await _read_form(request.headers["content-type"], chunks, options)
        data = b"".join([chunk async for chunk in chunks])
    if not data:
        raise HTTPException(
            400, "There is no picture in the request. Send one as the body, or files in a form."
        )
    for pattern, what, remedy in _MISNAMED:
        # A picture's first bytes may look like text: some say its size.
        if pattern.match(data) and not _is_picture(data):
            told = f"as Content-Type {kind[:99]!r}" if kind else "without a Content-Type"
            raise HTTPException(400, f"The body is {what}, sent {told}. {remedy}")
    return Uploads([Upload(_default_name(request), data)], is_list=False)


def _default_name(request: Request) -> str:
    return request.query_params.get("name", UNNAMED)[:_MOST_NAME] or UNNAMED


async def _read_json(request: Request, options: ServerOptions, room: Room) -> Uploads:
    # Three bytes become four characters of base64, in lines; the limit is of the pictures.
    most = options.max_bytes * 3 // 2 + 2**16
    text = [piece async for piece in read_pieces(request, most, options.max_bytes, room)]
    name = _default_name(request)
    pictures, is_list = await asyncio.to_thread(_parse_pictures, b"".join(text), options, name)
    size = sum(len(picture.data) for picture in pictures)
    if size > options.max_bytes:
        raise HTTPException(
            413,
            f"The pictures are larger than {format_bytes(options.max_bytes)}. Send less at once.",
        )
    room.take(size)
    return Uploads(pictures, is_list)


def _parse_pictures(text: bytes, options: ServerOptions, name: str) -> tuple[list[Upload], bool]:
    # Before it is parsed: millions of empty lists are gigabytes.
    if sum(map(text.count, (b"[", b"{", b","))) > _SPARE + _MOST_NAME * options.max_pictures:
        raise HTTPException(
            413, f"The body has more brackets and commas than pictures need. {_SEND_JSON}"
        )
    try:
        found = from_json(text)
    except ValueError as error:
        raise HTTPException(
            400, f"The body is not JSON, as its Content-Type says: {error}. {_SEND_JSON}"
        ) from None
    if not isinstance(found, dict) or "images" not in found:
        return [_to_upload(found, "The body", name)], False
    images = found["images"]
    if found.keys() != {"images"} or not isinstance(images, list):
        raise HTTPException(400, f'Beside "images", a list, there is nothing. {_SEND_JSON}')
    if not images:
        raise HTTPException(400, f'There is no picture in "images". {_SEND_JSON}')
    if len(images) > options.max_pictures:
        raise _too_many(options.max_pictures)
    return [_to_upload(image, f"images[{i}]", UNNAMED) for i, image in enumerate(images)], True


def _to_upload(image: object, place: str, name: str) -> Upload:
    if isinstance(image, str) and place != "The body":
        image = {"image": image}
    if not isinstance(image, dict):
        raise HTTPException(400, f"{place} is no object. {_SEND_JSON}")
    if unknown := sorted(image.keys() - {"image", "name"}):
        raise HTTPException(400, f"{place} has an unknown key {unknown[0][:99]!r}. {_SEND_JSON}")
    data, called = image.get("image"), image.get("name")
    if not isinstance(data, str) or not isinstance(called, str | None):
        raise HTTPException(400, f'{place} needs "image" as text; "name" is text. {_SEND_JSON}')
    return Upload((called or name)[:_MOST_NAME], _decode(data, place))


def _decode(text: str, place: str) -> bytes:
    """Return the bytes that base64 stands for: in either alphabet, with or without line breaks."""
    if text[:8].lower().startswith(("http://", "https:/", "file:/")):
        raise HTTPException(
            400, f"{place} is an address, and the server fetches none. {_SEND_JSON}"
        )
    if head := _DATA_URL.match(text):
        text = text[head.end() :]
    # As bytes: text would be split into as many pieces as it has blanks.
    packed = text.encode(errors="surrogatepass").translate(_URL_SAFE, _BLANKS).rstrip(b"=")
    if not packed:
        raise HTTPException(400, f"{place} holds no picture: it is empty. {_SEND_JSON}")
    if fault := _NO_BASE64.search(packed):
        held = packed[fault.start() : fault.start() + 4].decode(errors="replace")[0]
        raise HTTPException(400, f"{place} is not base64: it holds {held!r}. {_SEND_JSON}")
    if len(packed) % 4 == 1:
        raise HTTPException(400, f"{place} is not base64: it is cut short. Send it again.")
    return base64.b64decode(packed + b"=" * (-len(packed) % 4))


def _too_many(most: int) -> HTTPException:
    return HTTPException(413, f"The request holds more than {most} pictures. Send them in parts.")


async def _read_form(
    content_type: str, chunks: AsyncIterator[bytes], options: ServerOptions
) -> Uploads:
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise HTTPException(
            400,
            f"The request's Content-Type is {FORM} without the boundary that divides its parts. "
            "Give no Content-Type of your own: what makes the form adds it, like "
            "curl -F file=@picture.png.",
        )
    form = _Form(options.max_pictures)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]  # reason: a dict of the callbacks that are of use here
        async for chunk in chunks:
            parser.write(chunk)
    except FormParserError as error:
        raise HTTPException(400, f"The form is broken: {_form_fault(form, error)}.") from None
    return Uploads(form.finish(), is_list=True)


def _form_fault(form: _Form, error: FormParserError) -> str:
    if form.is_begun:
        return f"{str(error).rstrip('.')}. Send it again, as a client's own library makes it"
    return (
        "it does not begin with the boundary that its Content-Type names. Let what makes the "
        "form set that header, like curl -F file=@picture.png"
    )


@dataclass(slots=True)
class _Form:
    """The files of a form, filled by the parser's callbacks; fields of text are passed over."""

    most: int
    is_begun: bool = False
    _uploads: list[Upload] = field(default_factory=list)
    _text: tuple[str, bytes] | None = None
    """Name and beginning of the first field of text."""
    _parts: int = 0
    _is_ended: bool = False
    _header: bytes = b""
    _value: bytes = b""
    _field: str = ""
    _name: str | None = None
    """What the file is called; None: this is perhaps no file."""
    _data: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> dict[str, object]:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def finish(self) -> list[Upload]:
        """Return the files; raise a 400 where the form is not whole, or has none."""
        if self.is_begun and not self._is_ended:
            raise HTTPException(
                400, "The form is broken: it ends before its last boundary. Send it again."
            )
        if self._uploads:
            return self._uploads
        if self._text is None:
            raise HTTPException(400, f"The form holds no file. {_SEND_FILE}")
        name, text = self._text
        begin = text.decode("utf-8", "replace")
        raise HTTPException(
            400, f"The form holds no file: its field {name!r} is the text {begin!r}. {_SEND_FILE}"
        )

    def _begin(self) -> None:
        self.is_begun = True
        self._parts += 1
        if self._parts > self.most + _SPARE:
            raise HTTPException(413, f"The form has too many fields. {_SEND_FILE}")
        self._field, self._name, self._data = "", None, bytearray()
        self._header = self._value = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        header, value = self._header.lower(), self._value
        self._header = self._value = b""
        # latin-1 there and back: the parser's way to keep bytes that may be UTF-8
        words = parse_options_header(value.decode("latin-1"))[1]
        if header == b"content-disposition":
            self._field = words.get(b"name", b"").decode("utf-8", "replace")[:_MOST_NAME]
            # ``filename*``, which forms may not use and some do, is not read, but no name.
            if b"filename" in words or b"filename*" in value.lower():
                name = words.get(b"filename", b"").decode("utf-8", "replace")
                self._name = name[:_MOST_NAME] or UNNAMED
        elif header == b"content-type" and value.startswith((b"image/", b"application/octet")):
            self._name = self._name or UNNAMED  # a file that nobody named
        elif header == b"content-transfer-encoding" and value.lower().strip() == b"base64":
            raise HTTPException(
                400, f"A part of the form is base64, which forms do not have. {_SEND_FILE}"
            )

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _end_part(self) -> None:
        data, name = bytes(self._data), self._name
        if name is None and _is_picture(data):
            name = UNNAMED
        if name is None:
            self._text = self._text or (self._field, data[:60])
            return
        if len(self._uploads) == self.most:
            raise _too_many(self.most)
        self._uploads.append(Upload(name, data))

    def _end(self) -> None:
        self._is_ended = True


def _is_picture(data: bytes) -> bool:
    try:
        sniff_kind(data)
    except UndecodableError:
        return False
    return True
