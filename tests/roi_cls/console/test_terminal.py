"""Progress on a terminal and off it, and the lines beside it; all of it on stderr."""

import contextlib
import io
import os
import pty
import subprocess
import sys
import types
from collections.abc import Iterator

import pytest

from roi_cls.base.errors import StorageError
from roi_cls.console import terminal as terminal_module
from roi_cls.console.terminal import PLAIN_INTERVAL_S, note, note_next, progress, show


class Clock:
    """A time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the seconds that the test says."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal_module, "time", clock)
    return clock


def test_note_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    note("seen")
    assert capsys.readouterr() == ("", "seen\n")


class Torn(io.StringIO):
    """A standard output that cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        """Fail."""
        raise self.error


def test_result_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Torn(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match=r"^Cannot write .standard output.: the disk is full"):
        show("a result")


def test_reader_that_left_is_for_the_command_line_to_handle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", Torn(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        show("a result")


def test_plain_progress_is_at_most_a_line_each_10_s(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PLAIN_INTERVAL_S == 10
    with progress("Cropping") as advance:
        for done in range(1, 26):
            advance(done, 100, "")
            clock.now += 1
    assert capsys.readouterr() == (
        "",
        "Cropping: 11/100, 1.0 pictures/s, 89 s left\n"
        "Cropping: 21/100, 1.0 pictures/s, 79 s left\n",
    )


def test_rate_counts_from_the_first_step_not_from_the_work_before(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("Training", "crops") as advance:
        clock.now += 500  # the pictures are cropped meanwhile
        advance(100, 1000, "epoch 1")
        clock.now += 10
        advance(300, 1000, "epoch 1")
    assert capsys.readouterr().err == (
        "Training: 100/1000, epoch 1\nTraining: 300/1000, 20 crops/s, 35 s left, epoch 1\n"
    )


def test_work_done_at_once_shows_no_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Cropping") as advance:
        advance(1, 1, "")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("found", "argument", "expected"),
    [
        ("/usr/bin/roi-cls", "/usr/bin/roi-cls", "roi-cls"),
        (None, "/lib/roi_cls/__main__.py", "python -m roi_cls"),
        (None, os.path.abspath("env/bin/roi-cls"), "env/bin/roi-cls"),
        (None, "/elsewhere/roi-cls", "/elsewhere/roi-cls"),
    ],
    ids=["on the path", "as a module", "below this folder", "elsewhere"],
)
def test_next_command_can_be_typed_here(
    found: str | None,
    argument: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: found)
    monkeypatch.setattr(sys, "argv", [argument])
    note_next("predict", "my picture.png")
    assert capsys.readouterr().err == f"Next: {expected} predict 'my picture.png'\n"


class Terminal(io.StringIO):
    """A standard error that a person looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_terminal_gets_a_bar_that_is_gone_when_the_work_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")

    def fail() -> None:
        with progress("Cropping") as advance:
            advance(1, 9, "a.png")
            note("beside it")
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert sys.stderr is shown
    assert "Cropping" in shown.getvalue()
    assert "1/9" in shown.getvalue()
    assert "beside it\n" in shown.getvalue()
    assert shown.getvalue().endswith("\x1b[1A\x1b[2K")  # up to the bar's line, and clear it


def test_work_that_never_starts_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress("Cropping"):
        pass
    assert shown.getvalue() == ""


SCRIPT = """
import sys, time
from roi_cls.console.terminal import note, progress
with progress("Cropping") as crop, progress("Training", "crops") as train:
    crop(1, 3, ""); time.sleep(0.15); crop(2, 3, ""); crop(3, 3, "")
    note("between")
    train(1, 2, "epoch 1"); time.sleep(0.15)
    note("epoch 1 done")
    print("a result", flush=True)
    train(2, 2, "epoch 2")
note("after")
"""


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def read_all(handle: int) -> str:
    seen = io.BytesIO()
    with contextlib.suppress(OSError):  # how Linux tells that the other side was closed
        while data := os.read(handle, 65536):
            seen.write(data)
    return seen.getvalue().decode()


@pytest.fixture(scope="module")
def on_terminal() -> tuple[str, str]:
    """Return stdout, a pipe, and what a terminal got as stderr."""
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    with terminal() as (ours, theirs):
        words = [sys.executable, "-c", SCRIPT]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
        ) as process:
            os.close(theirs)
            assert process.stdout
            shown, result = read_all(ours), process.stdout.read()
        assert process.returncode == 0, shown
    return result, shown


def test_stdout_is_not_led_through_the_bar(on_terminal: tuple[str, str]) -> None:
    assert on_terminal[0] == "a result\n"


def test_bar_shows_count_rate_and_note(on_terminal: tuple[str, str]) -> None:
    shown = on_terminal[1]
    assert "Cropping" in shown
    assert "1/3" in shown
    assert "3/3" in shown
    assert "pictures/s" in shown
    assert "epoch 1" in shown


def test_only_the_bar_at_work_is_on_the_screen(on_terminal: tuple[str, str]) -> None:
    before, after = on_terminal[1].split("between")
    assert "Training" not in before
    assert "Cropping" not in after


def test_note_beside_a_bar_has_a_line_of_its_own(on_terminal: tuple[str, str]) -> None:
    # The bar's line is cleared, the note written, and the bar drawn again below it.
    before, after = on_terminal[1].split("epoch 1 done")
    assert before.endswith("\r\x1b[2K")
    assert after.startswith("\r\n")


def test_bar_is_gone_at_the_end(on_terminal: tuple[str, str]) -> None:
    assert on_terminal[1].rstrip().endswith("\x1b[2Kafter")
    assert "\x1b[?25h" in on_terminal[1]  # the cursor is back


@pytest.mark.parametrize(
    ("variables", "speaks"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"RANK": "1"}, True),  # not torchrun's: it sets both
    ],
)
def test_of_several_processes_the_first_speaks_alone(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    speaks: bool,
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    note("seen")
    show("result")
    note("error: mine alone", always=True)
    expected = ("result\n", "seen\n") if speaks else ("", "")
    assert capsys.readouterr() == (expected[0], f"{expected[1]}error: mine alone\n")


class Notebook:
    """The part of a notebook's kernel that shows things: what stands at each place, in order."""

    def __init__(self) -> None:
        self.places: list[list[str]] = []

    def display(self, html: str, display_id: bool) -> "Place":
        """Show something at a new place."""
        assert display_id
        self.places.append([html])
        return Place(self.places[-1])


class Place:
    """One place of a notebook."""

    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, html: str) -> None:
        """Show something else here."""
        self.shown.append(html)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    notebook = Notebook()
    shell = types.SimpleNamespace(kernel=object())
    display = types.SimpleNamespace(HTML=lambda text: text, display=notebook.display)
    ipython = types.SimpleNamespace(get_ipython=lambda: shell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return notebook


def test_notebook_has_a_bar_and_then_a_line_in_its_place(
    clock: Clock, notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("Trying <b>") as advance:
        assert notebook.places == []
        for done in range(1, 5):
            advance(done, 4, "epoch & 1")
            clock.now += 0.2
        advance(1, None, "")
    bar = 'Trying &lt;b&gt; <progress max="4" value="{}"></progress> {}'
    assert notebook.places == [
        [
            f'<div style="opacity:.8">{words}</div>'
            for words in (
                bar.format(1, "1/4, epoch &amp; 1"),
                bar.format(3, "3/4, 5.0 pictures/s, 0 s left, epoch &amp; 1"),
                "Trying &lt;b&gt;: 4 pictures in 0.6 s",
            )
        ],
        [
            '<div style="opacity:.8">Trying &lt;b&gt; <progress></progress> 1</div>',
            '<div style="opacity:.8">Trying &lt;b&gt;: 1 picture in 0.2 s</div>',
        ],
    ]
    assert capsys.readouterr() == ("", "")


def test_python_in_a_terminal_is_no_notebook(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shell in (None, object()):
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda shell=shell: shell)
        with progress("Cropping") as advance:
            advance(1, 2, "")
    assert notebook.places == []
