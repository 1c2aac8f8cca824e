"""Headers of picture files, read from bytes. Knows formats; neither pixels nor file names.

Every length comes from the file and none is trusted: what is read lies within the data.
"""

from __future__ import annotations

import re
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

MAX_PIXELS = 100_000_000
"""Pixels of the largest picture that is decoded, unless told otherwise; 300 MB as RGB.

Not part of the recipe: a picture above the limit is refused, never cropped otherwise.
"""
EXPORT_AGAIN = "Remove it, or copy or export it again."
CONVERT = "Convert it to PNG or JPEG."
GIVE_PICTURES = "Give PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF files."
_DOWNLOAD = "Download the picture itself."
_UNPACK = "Unpack it, or give it as .zip or .tar."
NO_RANGE = "its pixels are float, signed or 32-bit numbers, which have no fixed range"
FIX_RANGE = "Convert it to 8 or 16 bits, unsigned."
CODES, GAMMA = b"cICP", b"gAMA"
"""What begins a profile that is none, but numbers that stand for one: as PNG's chunks are named."""
_RAW, _DEVELOP = "a camera's raw picture", "Export it as JPEG or TIFF with a raw developer."
_KINDS = (
    ("PNG", re.compile(rb"\x89PNG")),
    ("JPEG", re.compile(rb"\xff\xd8(\xff|\Z)")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0(?!....CR)|MM\0[*+]", re.DOTALL)),  # CR: Canon's raw
    # Brands that say no more than "a picture" stand before those of what it is coded in.
    ("AVIF", re.compile(rb"....ftyp(avi[fs]|m[is]f1....(....){0,9}?avi[fs])", re.DOTALL)),
    ("HEIC", re.compile(rb"....ftyp(hei[cfmsx]|hev[cmsx]|m[is]f1)", re.DOTALL)),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
    ("PNM", re.compile(rb"P[1-6](\s|#[^\n]*\n)+\d+(\s|#[^\n]*\n)+\d+\s")),
    # Two letters are a word, so the header's size must be one that exists.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    # No magic number: no palette and true colour or grey, or a palette of whole entries.
    (
        "TGA",
        re.compile(
            rb".(\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x09]..(?!\0\0)..[\x0f\x10\x18\x20])"
            rb"....(?!\0\0)..(?!\0\0)..[\x08\x10\x18\x20][\0-\x3f]",
            re.DOTALL,
        ),
    ),
)
_TEXT = rb"(\xef\xbb\xbf)?\s*"  # a byte order mark and blanks
_COMMENTS = rb"(?><!--.*?-->\s*)*"  # atomic: else the ways to divide them double with each
_UNREAD = (  # pictures of forms that are not decoded
    (
        rb"II\*\0....CR|....ftypcrx |IIR[OS]|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM",
        _RAW,
        _DEVELOP,
    ),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", CONVERT),
    (
        rb"P[Ff]\s+\d+\s+\d+\s|v/1\x01|#\?RADIANCE",
        "a picture of float numbers (PFM, EXR or HDR)",
        CONVERT,
    ),
    (rb"qoif", "a QOI picture", CONVERT),
    (rb"P7\s", "a PAM picture", CONVERT),
)
_FOREIGN = (
    (rb"....ftyp", "a video", GIVE_PICTURES),
    (rb"\0\0\x01\0.\0", "an icon", CONVERT),
    (rb"8BPS", "a Photoshop file", CONVERT),
    (rb"%PDF", "a PDF document", CONVERT),
    (_TEXT + rb"(<\?xml[^>]*>\s*)?" + _COMMENTS + rb"(<!doctype svg|<svg)", "an SVG drawing",
     CONVERT),
    (_TEXT + _COMMENTS + rb"<(!doctype html|html|head|body)", "an HTML page", _DOWNLOAD),
    (rb"version https://git-lfs", "a Git LFS pointer", "Run `git lfs pull` to fetch the picture."),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive", _UNPACK),
)  # fmt: skip
HEAD_BYTES = 4096
"""So much of a file tells what it is."""
# Containers alone. FFmpeg would also take lists that name other files and servers (HLS, concat).
_PICTURE_BRANDS = rb"(?!hei[cfmsx]|hev[cmsx]|mif1|msf1|avi[fs]|crx )"
_CONTAINER = re.compile(
    rb"....(ftyp" + _PICTURE_BRANDS + rb"|moov|mdat|wide|free|skip)"  # MP4, QuickTime, 3GP
    rb"|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|OggS"  # AVI, Matroska and WebM, Flash, Ogg
    rb"|\x00\x00\x01[\xb3\xba]|0&\xb2u\x8ef\xcf\x11"  # MPEG, Windows Media
    rb"|G.{187}G|.{4}G.{191}G",  # MPEG transport streams: every packet begins so
    re.DOTALL,
)

_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = struct.Struct(">I4s")
_PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"))
_MAX_SIDE = 1_000_000  # libpng's
_LONGEST_PROFILE = 2**22  # 4 MiB: of printing inks they have one or two
_RAW_COLOURS = {32803, 34892}  # TIFF's: of a colour filter array, and linear
_MOST_DIRECTORIES = 64  # of a TIFF


class UndecodableError(Exception):
    """Carries reason and remedy to the one place that knows the picture's name."""

    def __init__(self, reason: str, remedy: str = EXPORT_AGAIN) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class DamagedError(UndecodableError):
    """It is a picture, but not whole: a decoder may still give a part of it."""


Space = Literal["L", "RGB", "CMYK"]
"""What the samples of a picture are, under Pillow's names: grey, RGB, or inks."""


@dataclass(frozen=True, slots=True)
class PngParts:
    """What a PNG's chunks say. Their checksums are right; those of pixels the decoder checks."""

    height: int
    width: int
    depth: int
    """Bits per sample."""
    color: int
    """PNG's colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    transparent: bytes
    """The tRNS chunk where one is allowed; empty: none."""
    exif: bytes
    profile: bytes
    """What it says of its colours, as ``read_colours`` takes it; empty: nothing, or that it is
    sRGB."""
    pixels_only: bytes
    """The file without its metadata, animation, and grey transparency."""

    @property
    def space(self) -> Space:
        """What the samples are."""
        return "L" if self.color in (0, 4) else "RGB"


@dataclass(frozen=True, slots=True)
class JpegParts:
    """What a JPEG's markers say before its first scan. Not turned by EXIF."""

    height: int
    width: int
    components: int
    """1: grey; 3: colour; 4: CMYK."""
    exif: bytes
    profile: bytes
    """The ICC profile; empty: none, or one of whose parts some are missing."""
    is_usual: bool
    """Whether its components are sampled as TurboJPEG knows it, which tells damage."""

    @property
    def is_reducible(self) -> bool:
        """Whether it can be decoded at a smaller scale: grey or colour, usually sampled."""
        return self.components in (1, 3) and self.is_usual

    @property
    def space(self) -> Space:
        """What the samples are."""
        if self.components == 1:
            return "L"
        return "RGB" if self.components == 3 else "CMYK"


def sniff_kind(data: bytes) -> str:
    """Return the name of the format by its first bytes.

    Raises:
        UndecodableError: It is empty or of no format this project decodes; the reason names it.
    """
    if not data:
        raise UndecodableError("it is empty (0 bytes)")
    for kind, magic in _KINDS:
        if magic.match(data):
            return kind
    for pattern, what, remedy in (*_UNREAD, *_FOREIGN):
        if re.match(pattern, data[:HEAD_BYTES], re.DOTALL | re.IGNORECASE):
            raise UndecodableError(f"it is {what}", remedy)
    if is_video(data[:HEAD_BYTES]):
        raise UndecodableError("it is a video", GIVE_PICTURES)
    raise UndecodableError(f"it is not a picture (it begins with {data[:16]!r})", GIVE_PICTURES)


def is_picture(head: bytes) -> bool:
    """Whether a file that begins so is a picture, also of a form that is not decoded.

    Not TGA, which begins with no mark of its own: many other files would be taken for it.
    """
    return any(magic.match(head) for kind, magic in _KINDS if kind != "TGA") or any(
        re.match(pattern, head, re.DOTALL) for pattern, _, _ in _UNREAD
    )


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is a video, or sound in a video's container."""
    return _CONTAINER.match(head) is not None


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse sizes nobody can decode.

    Raises:
        UndecodableError: A side is below 1 or over what libpng takes, or the area over the limit.
    """
    if height < 1 or width < 1:
        raise UndecodableError(f"its header claims {width} x {height} pixels")
    if height * width > max_pixels:
        reason = f"it has {width} x {height} pixels, over the limit of {max_pixels}"
        remedy = "Shrink it, or raise the limit with --max-pixels or ROI_CLS_MAX_PIXELS."
        raise UndecodableError(reason, remedy)
    if max(height, width) > _MAX_SIDE:
        reason = f"it has {width} x {height} pixels, a side over {_MAX_SIDE}"
        raise UndecodableError(reason, "Cut it into smaller pictures.")


def read_png(data: bytes) -> PngParts:
    """Return what a PNG says of itself.

    Raises:
        DamagedError: It is cut off, or damaged where the picture depends on it.
    """
    chunks = _walk_png(data)
    header = b"".join(chunks[b"IHDR"])[8:-4]
    if len(header) != 13:
        raise DamagedError("it is damaged (its PNG header has a wrong length)")
    width, height, depth, color, *methods = struct.unpack(">IIBBBBB", header)
    if depth not in _PNG_DEPTHS.get(color, ()) or methods not in ([0, 0, 0], [0, 0, 1]):
        raise DamagedError("it is damaged (its PNG header has unknown values)")
    # The rest stays behind: OpenCV would decode every frame of an APNG, libpng would write to
    # stderr about a bad colour profile. OpenCV overlooks tRNS in grey pictures: the caller's work.
    kept = {0: (), 2: (b"tRNS",), 3: (b"PLTE", b"tRNS")}.get(color, ())
    order = (b"IHDR", *kept, b"IDAT", b"IEND")
    is_plain = chunks.keys() <= set(order)  # spares the copy
    return PngParts(
        height,
        width,
        depth,
        color,
        transparent=b"".join(chunks.get(b"tRNS", ()))[8:-4] if color in (0, 2, 3) else b"",
        exif=b"".join(chunks.get(b"eXIf", ()))[8:-4],
        profile=_read_png_profile(chunks),
        pixels_only=data if is_plain else _join_png(chunks, order),
    )


def _read_png_profile(chunks: dict[bytes, list[memoryview]]) -> bytes:
    """Return what counts of a PNG's chunks for colour, as ``read_colours`` takes it."""
    cicp, iccp, gama, chrm = (
        bytes(chunks[kind][0][8:-4]) if kind in chunks else b""
        for kind in (b"cICP", b"iCCP", b"gAMA", b"cHRM")
    )
    if cicp:
        return CODES + cicp[:2]
    if iccp:
        inflater = zlib.decompressobj()
        with suppress(zlib.error):
            profile = inflater.decompress(iccp.partition(b"\0")[2][1:], _LONGEST_PROFILE)
            if inflater.eof:
                return profile
        return b"broken"
    return GAMMA + gama + chrm if gama and b"sRGB" not in chunks else b""


def _join_png(chunks: dict[bytes, list[memoryview]], order: tuple[bytes, ...]) -> bytes:
    parts = [chunk for kind in order for chunk in chunks.get(kind, ())]
    return b"".join([_PNG_SIGNATURE, *parts])


def _walk_png(data: bytes) -> dict[bytes, list[memoryview]]:
    """Return whole chunks by name, in file order, up to the last."""
    if not data.startswith(_PNG_SIGNATURE):
        if _PNG_SIGNATURE.startswith(data):
            raise DamagedError(f"it is cut off after {len(data)} bytes")
        raise DamagedError("its PNG signature is damaged, as by a transfer in text mode")
    view, offset = memoryview(data), len(_PNG_SIGNATURE)
    chunks: dict[bytes, list[memoryview]] = {}
    kind, cut = b"", DamagedError(f"it is cut off after {len(data)} bytes")
    while kind != b"IEND":
        if offset + 12 > len(data):
            raise cut
        length, kind = _PNG_CHUNK.unpack_from(data, offset)
        end = offset + 12 + length
        if end > len(data):
            raise cut
        # OpenCV writes 8 KB a chunk, hundreds to a picture, and checks pixels itself: 3 % of
        # decoding would be spent here.
        if kind != b"IDAT":
            _check_png_chunk(kind, view[offset:end])
        if kind in chunks:
            chunks[kind].append(view[offset:end])
        else:
            chunks[kind] = [view[offset:end]]
        offset = end
    if not chunks.keys() >= {b"IHDR", b"IDAT"}:
        raise DamagedError("it is damaged (a PNG without pixels)")
    return chunks


def _check_png_chunk(kind: bytes, chunk: memoryview) -> None:
    if kind in _PNG_CHUNKS:
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            reason = f"it is damaged (wrong checksum in PNG chunk {kind.decode()})"
            raise DamagedError(reason)
    elif kind[0] & 0x20 == 0:  # a capital letter: nothing may be shown without it
        raise DamagedError(f"it is damaged (unknown PNG chunk {kind!r})")


def check_png_pixels(data: bytes) -> None:
    """Refuse a PNG whose chunks of pixels have wrong checksums.

    Raises:
        DamagedError: They have.
    """
    for chunk in _walk_png(data)[b"IDAT"]:
        _check_png_chunk(b"IDAT", chunk)


def check_webp(data: bytes, max_pixels: int) -> None:
    """Refuse a WebP before Pillow opens it, which allocates its pixels.

    Raises:
        UndecodableError: It is shorter than it says, or ``check_size`` refuses it.
    """
    if len(data) < max(30, 8 + int.from_bytes(data[4:8], "little")):
        raise DamagedError(f"it is cut off after {len(data)} bytes")
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[i : i + 3], "little") + 1 for i in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[i : i + 2], "little") & 0x3FFF for i in (26, 28))
    check_size(height, width, max_pixels)


def check_jpeg_2000(data: bytes) -> None:
    """Refuse a JPEG 2000 that was cut: its decoder leaves grey what is missing.

    Raises:
        DamagedError: The mark at the end of its pixels is not there.
    """
    # The mark cannot occur among the pixels, but in a preview before them.
    if data.rfind(b"\xff\xd9", data.find(b"\xff\x4f\xff\x51")) < 0:
        raise DamagedError(f"it is cut off after {len(data)} bytes")


def pick_full_tiff(data: bytes) -> bytes:
    """Return a TIFF with its full picture first: it may begin with a thumbnail of it.

    Raises:
        UndecodableError: It is a camera's raw picture, or its numbers have no fixed range.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:  # BigTIFF: of microscopes and maps, not of cameras
        return data
    found = _walk_tiff(data, order)
    if any(50706 in tags or _RAW_COLOURS & {*tags.get(262, ())} for tags in found.values()):
        raise UndecodableError(f"it is {_RAW}", _DEVELOP)
    first = place = next(iter(found), 0)
    whole = [at for at, tags in found.items() if not _is_part(tags)]
    if whole and whole[0] != first:
        place = max(whole, key=lambda at: _area(found[at]))
    tags = found.get(place, {})
    if {*tags.get(339, (1,))} - {1, 4} or max(tags.get(258, (1,))) > 16:
        raise UndecodableError(NO_RANGE, FIX_RANGE)
    return data if place == first else data[:4] + struct.pack(order + "I", place) + data[8:]


def _is_part(tags: dict[int, tuple[int, ...]]) -> bool:
    """Whether NewSubfileType says that it is a smaller copy (1) or a mask (4) of another."""
    return bool(tags.get(254, (0,))[0] & 5)


def _area(tags: dict[int, tuple[int, ...]]) -> int:
    return max(tags.get(256, (0,))) * max(tags.get(257, (0,)))


def _walk_tiff(data: bytes, order: str) -> dict[int, dict[int, tuple[int, ...]]]:
    """Return the whole numbers in each directory, by tag, those below others included."""
    found: dict[int, dict[int, tuple[int, ...]]] = {}
    waiting = [*struct.unpack_from(order + "I", data.ljust(8, b"\0"), 4)]
    while waiting and len(found) < _MOST_DIRECTORIES:
        place = waiting.pop(0)
        if place in found or place == 0:
            continue
        with suppress(struct.error):  # what is damaged is the decoder's to tell
            (count,) = struct.unpack_from(order + "H", data, place)
            found[place] = tags = {}
            for entry in range(place + 2, place + 2 + 12 * count, 12):
                tag, form, length = struct.unpack_from(order + "HHI", data, entry)
                if (letter := {1: "B", 3: "H", 4: "I", 13: "I"}.get(form)) and 0 < length <= 64:
                    layout, at = f"{order}{length}{letter}", entry + 8
                    if struct.calcsize(layout) > 4:  # then the entry tells where they are
                        (at,) = struct.unpack_from(order + "I", data, at)
                    tags[tag] = struct.unpack_from(layout, data, at)
            waiting += struct.unpack_from(order + "I", data, place + 2 + 12 * count)
            waiting += tags.get(330, ())
    return found


def read_colr(data: bytes) -> bytes:
    """Return what the colour box of a JPEG 2000 or AVIF says, as ``read_colours`` takes it.

    Empty: there is none, it is sRGB, or it is an AVIF's profile, which its decoder gives.
    """
    found = re.search(rb"(....)colr(?:nclx\0(.)\0(.)|\x02..)", data, re.DOTALL)
    if found is None:
        return b""
    if found[2] is not None:
        return CODES + found[2] + found[3]
    return data[found.end() : found.start() + int.from_bytes(found[1])]


def read_orientation(exif: bytes) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where it is missing or damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    with suppress(struct.error):  # damaged metadata around good pixels
        (offset,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, form, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == 0x0112:
                return int(value) if form == 3 and 1 <= value <= 8 else 1
    return 1
