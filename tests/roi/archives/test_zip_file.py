"""Zip archives: members that cannot be read say why, one by one."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from roi_cls.roi.archives.archive import ArchiveError
from roi_cls.roi.archives.zip_file import ZipArchive
from tests.helpers.archives import make_zip

MOST = 10**6


def opened(path: Path) -> ZipArchive:
    return ZipArchive(path.open("rb"))


def refusal(archive: ZipArchive, name: str) -> str:
    with pytest.raises(ArchiveError) as caught:
        archive.read(name, MOST)
    return f"{caught.value.reason}. {caught.value.remedy}"


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_usual_compressions_are_read(tmp_path: Path, method: int) -> None:
    with opened(make_zip(tmp_path / "a.zip", {"1.jpg": b"x" * 999}, method)) as archive:
        assert archive.read("1.jpg", MOST) == b"x" * 999


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_holds_more_than_it_says_is_not_decompressed(
    tmp_path: Path, method: int
) -> None:
    path = make_zip(tmp_path / "a.zip", {"1.jpg": bytes(2**27), "2.jpg": b"2"}, method)
    data = bytearray(path.read_bytes())
    for header, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):  # its own, and in the directory
        struct.pack_into("<I", data, data.index(header) + at, 1000)
    path.write_bytes(data)
    with opened(path) as archive:
        tracemalloc.start()
        told = refusal(archive, "1.jpg")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "Bad CRC-32 for file '1.jpg'" in told
        assert peak < 2**27
        assert archive.read("2.jpg", MOST) == b"2"


def test_a_damaged_member_leaves_the_others(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1.jpg": b"first" * 99, "2.jpg": b"second" * 99})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"firstfirst", b"firstFirst", 1))
    with opened(path) as archive:
        assert refusal(archive, "1.jpg") == (
            "it is damaged (Bad CRC-32 for file '1.jpg'). Copy, download or make it again."
        )
        assert archive.read("2.jpg", MOST) == b"second" * 99


def test_a_member_without_a_name_gets_one(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"x": b"1"})
    data = bytearray(path.read_bytes())
    for header, at, name in ((b"PK\3\4", 26, 30), (b"PK\1\2", 28, 46)):
        start = data.index(header)
        struct.pack_into("<H", data, start + at, 0)
        del data[start + name]
    end = data.index(b"PK\5\6")
    struct.pack_into("<II", data, end + 12, end - data.index(b"PK\1\2"), data.index(b"PK\1\2"))
    path.write_bytes(data)
    with opened(path) as archive:
        assert archive.names() == ["_"]
        assert archive.read("_", MOST) == b"1"


def test_a_cut_archive_has_no_directory(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1.jpg": b"first" * 99})
    path.write_bytes(path.read_bytes()[:-30])
    with path.open("rb") as file, pytest.raises(ArchiveError, match=r"not whole \(File is not a"):
        ZipArchive(file)


def _marked(path: Path, at: int, value: int) -> Path:
    """Change a field of two bytes in the directory, and in the member's own header."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\1\2", at + 2), (b"PK\3\4", at)):
        struct.pack_into("<H", data, data.index(signature) + offset, value)
    path.write_bytes(data)
    return path


def test_encrypted_members_and_odd_compressions_are_refused_by_name(tmp_path: Path) -> None:
    with opened(_marked(make_zip(tmp_path / "a.zip", {"1.jpg": b"1"}), 6, 1)) as archive:
        assert refusal(archive, "1.jpg") == (
            "it is encrypted. Unpack the archive with its password."
        )
    with opened(_marked(make_zip(tmp_path / "b.zip", {"1.jpg": b"1"}), 8, 9)) as archive:
        assert refusal(archive, "1.jpg").startswith("it is compressed in a way that is not read (")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"1.jpg": bytes(MOST + 1)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < MOST / 100
    with opened(path) as archive:
        assert refusal(archive, "1.jpg").startswith("it has 1000001 bytes, over the limit")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("1.jpg")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with ZipArchive(stream) as opened_archive:
        assert refusal(opened_archive, "1.jpg") == (
            "it is a link, which is not followed. Pack the file itself."
        )


def test_folders_are_no_members_and_windows_separators_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("empty")
        for name in ("ZZ.jpg", "cats/ü.jpg"):
            archive.writestr(name, b"1")
        archive.writestr("dogs#1.jpg", b"2")
    path.write_bytes(path.read_bytes().replace(b"dogs#1.jpg", b"dogs\\1.jpg"))
    with opened(path) as archive:
        assert archive.names() == ["ZZ.jpg", "cats/ü.jpg", "dogs/1.jpg"]
        assert archive.read("dogs/1.jpg", MOST) == b"2"
