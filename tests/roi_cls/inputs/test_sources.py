"""What people name becomes pictures for a model, one at a time, in order."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from roi_cls.base.errors import DataError, ImageReadError
from roi_cls.base.location import LocationError, as_path
from roi_cls.classifier.inference.prediction import Source
from roi_cls.inputs import sources
from roi_cls.inputs.sources import FETCHED_AHEAD, Given, SourceOptions, name_inputs, open_sources
from roi_cls.inputs.video import Every
from roi_cls.inputs.web import WebLimits
from tests.helpers.pictures import save_clip

Fetch = Callable[[str, WebLimits], bytes]


def given(*inputs: object, **options: object) -> list[Given]:
    named = name_inputs([str(text) for text in inputs])
    return list(open_sources(named, SourceOptions(**options)))  # type: ignore[arg-type]  # a test's


def paths(*inputs: object) -> list[str]:
    return [each.source.path for each in given(*inputs)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(11)]
    return save_clip(tmp_path / "clips" / "clip.avi", frames)


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def test_pattern_without_a_match_is_a_picture_beside_others_and_not_alone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    both = [str(tmp_path / "a.png"), str(tmp_path / "missing[1].jpg")]
    assert paths(*both) == both
    with pytest.raises(DataError, match=r"nothing matches '.*missing\[1\]\.jpg'"):
        given(both[1])


def test_what_is_passed_over_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.mp4", "c.txt", "@eaDir/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (named,) = name_inputs([str(tmp_path)])
    assert [Path(name).name for name in named.names] == ["a.png", "b.mp4"]
    assert capsys.readouterr().err == "Passed over: 1 .txt, 1 folder '@eaDir'.\n"


def test_files_are_named_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (each,) = given(tmp_path / "a.png")
    assert (each.source.path, each.source.data, each.source.error) == (
        str(tmp_path / "a.png"),
        None,
        None,
    )
    assert each.video is None


def test_unknown_protocol_in_a_list_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a.png\nnone://x/b.png\nnone://x/c.mp4\nd.png\n")
    rows = [each.source for each in given(tmp_path / "names.txt")]
    assert [row.path for row in rows] == ["a.png", "none://x/b.png", "none://x/c.mp4", "d.png"]
    assert [str(row.error)[:24] for row in rows] == [
        "None",
        "Cannot open 'none://x/b.",
        "Cannot open 'none://x/c.",
        "None",
    ]


def test_video_gives_its_frames_that_belong_together(clip: Path) -> None:
    first, second = given(clip, every=Every(seconds=1)), given(clip, every=Every(frames=4))
    assert [each.source.time_s for each in first] == [0.0, 1.0]
    assert [each.source.time_s for each in second] == [0.0, 0.4, 0.8]
    assert {each.source.path for each in first} == {str(clip)}
    assert len({each.video for each in first}) == 1
    assert len({each.video for each in [*first, *second, Given(Source("x"))]}) == 3


def test_videos_in_folders_are_found_among_pictures(clip: Path) -> None:
    (clip.parent / "b.png").touch()
    found = given(clip.parent, every=Every(seconds=60))
    assert [Path(each.source.path).name for each in found] == ["b.png", "clip.avi"]


@pytest.mark.parametrize("name", ["clip", "clip.insv", "clip.dat", "clip.2026-11-30"])
def test_videos_are_known_by_content(clip: Path, name: str) -> None:
    other = clip.rename(clip.with_name(name))
    (clip.parent / "names.txt").write_text(f"{other}\n")
    (clip.parent / "rows.csv").write_text(f"path\n{other.name}\n")
    for text in (other, clip.parent / "names.txt", clip.parent / "rows.csv"):
        found = given(text, every=Every(seconds=1))
        assert [(each.source.path, each.source.time_s) for each in found] == [
            (str(other), 0.0),
            (str(other), 1.0),
        ]


def test_picture_with_the_suffix_of_a_video_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.mov"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    (each,) = given(path)
    assert (each.source.path, each.source.error, each.video) == (str(path), None, None)


def test_remote_file_without_a_suffix_is_read_once(clip: Path) -> None:
    folder = as_path("memory://test-sources")
    (folder / "clip").write_bytes(clip.read_bytes())
    (folder / "picture").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert [each.source.time_s for each in given(folder / "clip")] == [0.0, 0.5, 1.0]
    (each,) = given(folder / "picture")
    assert each.source.data == b"\x89PNG\r\n\x1a\n"


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.mp4")
    told = "it is a pipe or device, not a file. "
    assert told in str(given(tmp_path / "pipe")[0].source.error)
    assert told in str(given(tmp_path / "pipe.mp4")[0].source.error)


def test_unreadable_video_is_one_row(tmp_path: Path) -> None:
    (each,) = given(tmp_path / "none.mp4")
    assert each.source.error == (
        f"Cannot read {str(tmp_path / 'none.mp4')!r}: no such file. Check the path."
    )


def test_piped_video_gives_what_its_file_gives(clip: Path, piped: Callable[[bytes], None]) -> None:
    piped(clip.read_bytes())
    by_pipe, by_file = given("-"), given(clip)
    assert [each.source.path for each in by_pipe] == ["-"] * 3
    for one, other in zip(by_pipe, by_file, strict=True):
        assert one.source.time_s == other.source.time_s
        assert one.source.image is not None
        assert np.array_equal(one.source.image, other.source.image)  # type: ignore[arg-type]  # there


def test_piped_picture_is_handed_on_as_it_is(piped: Callable[[bytes], None]) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(10_000)
    piped(data)
    (named,) = name_inputs(["-"])
    assert (named.is_one, named.count) == (True, 1)
    (each,) = open_sources([named])
    assert (each.source.path, each.source.data) == ("-", data)


@pytest.mark.parametrize("data", [b"", b"<!doctype html>", b"\0\1\2"], ids=repr)
def test_piped_bytes_that_are_no_list_are_taken_for_a_picture(
    piped: Callable[[bytes], None], data: bytes
) -> None:
    piped(data)
    (each,) = given("-")
    assert each.source.data == data


def test_piped_list_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(io.RawIOBase):
        """Gives a line each time it is asked, and fails where it is asked too early."""

        def __init__(self) -> None:
            self.lines = [b"a.png\nb.", b"png\n# no\n", b"c.png\n", b"d.png"]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any buffer
            line = self.lines.pop(0) if self.lines else b""
            buffer[: len(line)] = line
            return len(line)

    slow = Slow()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(slow)))  # type: ignore[type-var]  # raw
    named = name_inputs(["-"])
    assert (named[0].count, named[0].is_one) == (None, False)
    coming = open_sources(named)
    assert next(coming).source.path == "a.png"
    assert len(slow.lines) == 3
    assert [each.source.path for each in coming] == ["b.png", "c.png", "d.png"]


@pytest.mark.parametrize("first", [b"\x89", b"\x89PNG\r\n", b"GI", b"\xff\xd8", b"BM"], ids=repr)
def test_piped_picture_that_begins_slowly_is_no_list(
    monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    read, write = os.pipe()
    rest = {b"\x89": b"PNG\r\n\x1a\n", b"\x89PNG\r\n": b"\x1a\n", b"GI": b"F89a"}
    rest |= {b"\xff\xd8": b"\xff\xe0\0", b"BM": bytes(12)}
    monkeypatch.setattr(sys, "stdin", os.fdopen(read))

    def feed() -> None:
        with os.fdopen(write, "wb", buffering=0) as pipe:
            pipe.write(first)
            time.sleep(0.1)
            pipe.write(rest[first] + bytes(100))

    feeding = threading.Thread(target=feed)
    feeding.start()
    with sys.stdin:
        (named,) = name_inputs(["-"])
    feeding.join()
    assert named.data == first + rest[first] + bytes(100)


def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it then
    with pytest.raises(DataError, match=r"nothing is piped into it\."):
        name_inputs(["-"])


@pytest.mark.parametrize(
    "name", ["simplecache::http://127.0.0.1/x", "zip://a.png::HTTPS://h/x.zip"]
)
def test_address_within_another_is_refused(tmp_path: Path, name: str) -> None:
    told = (
        f"Cannot open {name!r}: an address of the web within another would be fetched without "
        "limits. Give the http:// or https:// address alone."
    )
    with pytest.raises(LocationError) as caught:
        name_inputs([name])
    assert str(caught.value) == told
    (tmp_path / "names.txt").write_text(f"{name}\n{name}.mp4\n")
    assert [each.source.error for each in given(tmp_path / "names.txt")] == [
        told,
        told.replace(name, f"{name}.mp4"),
    ]


def test_terminal_as_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(DataError) as caught:
        name_inputs(["-"])
    assert str(caught.value) == (
        "Cannot read a picture from standard input: nothing is piped into it. "
        "Use: cat img.png | roi-cls predict -"
    )


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """URLs that were asked for; one called ``bad`` is refused, one called ``never`` waits."""
    asked: list[str] = []
    done = threading.Event()

    def fetch(url: str, limits: WebLimits) -> bytes:
        asked.append(url)
        if url.endswith("bad"):
            raise ImageReadError(url, "it is bad", "Be good.")
        if url.endswith("never"):
            done.wait(10)
        return url.encode()

    monkeypatch.setattr(sources, "fetch", fetch)
    yield asked
    done.set()


def test_urls_with_question_marks_are_no_patterns(fetched: list[str]) -> None:
    (each,) = given("https://host/a.png?size=1")
    assert each.source.data == b"https://host/a.png?size=1"


def test_urls_and_files_keep_their_order(fetched: list[str]) -> None:
    names = ["http://h/1", "a.png", "http://h/bad", "http://h/3", "b.png"]
    rows = [each.source for each in given(*names)]
    assert [row.path for row in rows] == names
    assert [row.data for row in rows] == [b"http://h/1", None, None, b"http://h/3", None]
    assert rows[2].error == "Cannot read 'http://h/bad': it is bad. Be good."


def test_urls_are_fetched_a_few_ahead_and_files_wait_for_none(fetched: list[str]) -> None:
    names = [f"http://h/{i}" for i in range(20)]
    coming = open_sources(name_inputs(["a.png", *names]))
    assert next(coming).source.path == "a.png"
    assert fetched == []
    assert next(coming).source.path == names[0]
    assert len(fetched) <= FETCHED_AHEAD
    assert [each.source.path for each in coming] == names[1:]


def test_fetched_video_gives_frames(
    clip: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "fetch", lambda url, limits: clip.read_bytes())
    found = given("http://h/v?id=1", every=Every(seconds=1))
    assert [(each.source.path, each.source.time_s) for each in found] == [
        ("http://h/v?id=1", 0.0),
        ("http://h/v?id=1", 1.0),
    ]


def test_servers_are_not_waited_for_once_it_is_stopped(fetched: list[str]) -> None:
    stopped: Future[None] = Future()
    coming = open_sources(name_inputs(["http://h/never", "a.png"]), None, stopped)
    threading.Timer(0.1, stopped.set_result, [None]).start()
    assert list(coming) == []
