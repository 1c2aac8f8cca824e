"""Tar archives: read from the front on, links within them followed, what is cut off told."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from roi_cls.roi.archives.archive import ArchiveError
from roi_cls.roi.archives.tar_file import TarArchive
from tests.helpers.archives import add_file, make_tar
from tests.helpers.pictures import noise

MOST = 10**6
CONTENT = {f"{i}.jpg": bytes([i]) * 3000 for i in range(8)}


def opened(path: Path) -> TarArchive:
    return TarArchive(path.open("rb"))


def refusal(archive: TarArchive, name: str) -> str:
    with pytest.raises(ArchiveError) as caught:
        archive.read(name, MOST)
    return f"{caught.value.reason}. {caught.value.remedy}"


def test_a_cut_archive_gives_what_is_before_and_tells_the_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", CONTENT)
    path.write_bytes(path.read_bytes()[: 3 * 3584 + 512 + 1000])
    with opened(path) as archive:
        assert archive.names() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
        assert archive.read("2.jpg", MOST) == CONTENT["2.jpg"]
        assert refusal(archive, "3.jpg") == (
            "the archive ends or is damaged within it. Copy, download or make it again."
        )
        assert archive.fault
        assert archive.fault.reason == (
            "it is cut or damaged after '3.jpg' (unexpected end of data): what follows, if "
            "anything, is not read"
        )


@pytest.mark.parametrize("cut", [3 * 3584 + 100, 3 * 3584 + 511])
def test_a_cut_within_a_header_is_told(tmp_path: Path, cut: int) -> None:
    path = make_tar(tmp_path / "a.tar", CONTENT)
    path.write_bytes(path.read_bytes()[:cut])
    with opened(path) as archive:
        assert archive.names() == ["0.jpg", "1.jpg", "2.jpg"]
        assert "after '2.jpg'" in str(archive.fault)


def test_a_damaged_header_is_told_and_not_taken_for_the_end(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", CONTENT)
    data = bytearray(path.read_bytes())
    data[2 * 3584 + 150] ^= 7  # in the third header's checksum
    path.write_bytes(data)
    with opened(path) as archive:
        assert archive.names() == ["0.jpg", "1.jpg"]
        assert "after '1.jpg'" in str(archive.fault)
        assert "after '1.jpg'" in refusal(archive, "5.jpg")


def test_an_archive_without_its_closing_blocks_is_whole(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", CONTENT)
    path.write_bytes(path.read_bytes()[: 8 * 3584])
    with opened(path) as archive:
        assert archive.names() == list(CONTENT)
        assert archive.fault is None


def test_a_cut_stream_gives_what_is_before(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar.gz", CONTENT, "w:gz")
    whole = gzip.decompress(path.read_bytes())
    noisy = gzip.compress(whole, 0)
    path.write_bytes(noisy[: 3 * 3584 + 2000])
    with opened(path) as archive:
        assert archive.names()[:3] == ["0.jpg", "1.jpg", "2.jpg"]
        assert archive.fault
        assert archive.read("1.jpg", MOST) == CONTENT["1.jpg"]


class _Counting(io.BytesIO):
    """Counts the bytes that are read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_stream_is_decompressed_once_for_members_in_order(tmp_path: Path) -> None:
    content = {f"{i}.jpg": noise(200_000, seed=i).tobytes() for i in range(8)}
    path = make_tar(tmp_path / "a.tar.gz", content, "w:gz")
    stream = _Counting(path.read_bytes())
    with TarArchive(stream) as archive:
        for name, data in content.items():
            assert archive.read(name, MOST) == data
        size = len(stream.getbuffer())
        assert size * 0.9 < stream.taken < size * 1.1
        assert archive.read("2.jpg", MOST) == content["2.jpg"]  # behind: from the front again
        assert size * 1.2 < stream.taken < size * 1.6


def test_links_lead_to_members_and_nowhere_else(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        add_file(tar, "./a/1.jpg", b"one")
        for name, kind, target in (
            ("a/hard.jpg", tarfile.LNKTYPE, "./a/1.jpg"),
            ("b/soft.jpg", tarfile.SYMTYPE, "../a/1.jpg"),
            ("b/twice.jpg", tarfile.SYMTYPE, "soft.jpg"),
            ("out.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            ("up.jpg", tarfile.SYMTYPE, "../../etc/passwd"),
            ("loop.jpg", tarfile.SYMTYPE, "loop.jpg"),
            ("pipe.jpg", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    stream.seek(0)
    with TarArchive(stream) as archive:
        for name in ("a/1.jpg", "a/hard.jpg", "b/soft.jpg", "b/twice.jpg"):
            assert archive.read(name, MOST) == b"one"
        assert refusal(archive, "out.jpg") == (
            "it is a link to '/etc/passwd', which is not in the archive. Pack the file itself."
        )
        assert "which is not in the archive" in refusal(archive, "up.jpg")
        assert "is a link that leads to itself" in refusal(archive, "loop.jpg")
        assert refusal(archive, "pipe.jpg") == "it is a pipe or device, not a file. Pack files."


def test_long_and_odd_names_are_kept(tmp_path: Path) -> None:
    names = ["ä" * 200 + ".jpg", "x/" * 60 + "1.jpg", "new\nline.jpg", "\udcff.jpg"]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
            for name in names:
                add_file(tar, name, name.encode("utf-8", "surrogateescape"))
        stream.seek(0)
        with TarArchive(stream) as archive:
            assert archive.names() == names
            assert archive.read(names[0], MOST) == names[0].encode()


def test_headers_without_end_are_damage(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "a.tar", {"1.jpg": b"1"})
    more = tarfile.TarInfo("x")
    more.type, more.size = tarfile.XHDTYPE, 12
    path.write_bytes(
        path.read_bytes()[:1024] + (more.tobuf() + b"12 path=abc\n".ljust(512, b"\0")) * 3000
    )
    with opened(path) as archive:
        assert archive.names() == ["1.jpg"]
        assert archive.fault
        assert archive.fault.reason.startswith("it is cut or damaged after '1.jpg' (maximum recurs")
