"""Names of members are safe, distinct, and found again, whatever an archive calls them."""

import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roi_cls.roi.archives.archive import FreeNames, clean_name, key_of
from roi_cls.roi.archives.tar_file import TarArchive
from roi_cls.roi.archives.zip_file import ZipArchive
from tests.helpers.archives import add_file

NAMES = st.lists(st.text("ab./\\~ é☃\n", min_size=1, max_size=9), max_size=8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cats/1.jpg", "cats/1.jpg"),
        ("./cats//1.jpg", "cats/1.jpg"),
        ("/etc/1.jpg", "etc/1.jpg"),
        ("../../1.jpg", "__/__/1.jpg"),
        ("a\0b.jpg", "a_b.jpg"),
        ("..jpg", "..jpg"),
        ("/", "_"),
    ],
)
def test_no_name_leaves_its_archive(name: str, expected: str) -> None:
    assert clean_name(name) == expected


def test_a_name_that_repeats_very_often_is_numbered_on() -> None:
    free = FreeNames()
    assert [free.take("a.jpg") for _ in range(200_000)][-1] == "a~200000.jpg"


def test_names_that_repeat_stay_apart_with_their_labels() -> None:
    given_names = ["a/1.jpg", "a/1.cls", "a/1.jpg", "a/1.cls", "a/1~2.jpg", "a/1.jpg"]
    expected = ["a/1.jpg", "a/1.cls", "a/1~2.jpg", "a/1~2.cls", "a/1~2~2.jpg", "a/1~3.jpg"]
    assert list(map(FreeNames().take, given_names)) == expected


@pytest.mark.parametrize(
    ("name", "key"),
    [("1.jpg", "1"), ("a.b/1.left.jpg", "a.b/1"), ("a/.hidden", "a/"), ("none", "none")],
)
def test_files_of_a_sample_share_all_up_to_the_first_dot(name: str, key: str) -> None:
    assert key_of(name) == key


def _is_file(name: str) -> bool:
    return not name.replace("\\", "/").endswith("/")


@settings(max_examples=150)
@given(NAMES)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_whatever_is_packed_under_any_names_is_read_again(names: list[str]) -> None:
    names = [name for name in names if _is_file(name)]
    packed, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped, tarfile.open(fileobj=tarred, mode="w") as tar:
        for i, name in enumerate(names):
            zipped.writestr(zipfile.ZipInfo(name), str(i).encode())
            add_file(tar, name, str(i).encode())
    tarred.seek(0)
    for archive in (ZipArchive(packed), TarArchive(tarred)):
        with archive:
            found = archive.names()
            assert len(set(found)) == len(names)
            assert [archive.read(name, 99) for name in found] == [
                str(i).encode() for i in range(len(names))
            ]
            for name in found:
                path = Path("x.zip") / name
                assert PurePosixPath(path.as_posix()).relative_to("x.zip") == PurePosixPath(name)
                assert ".." not in path.parts
