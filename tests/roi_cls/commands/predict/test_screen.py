"""The table on a terminal: what its rows hold, how wide it is, and when each row appears."""

import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len

from roi_cls.classifier.inference.prediction import Prediction
from roi_cls.commands.predict import screen
from roi_cls.commands.predict.run import PredictJob, predict_and_print
from roi_cls.commands.predict.screen import read_screen, show_table
from roi_cls.console.words import prediction_line
from roi_cls.data.sample import LabelSet

LABELS = LabelSet(("odd", "plain"), "odd")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE_S = 120


def answer(path: str, odd: float, **values: object) -> Prediction:
    """Return what a model with the threshold 0.124 says."""
    label = "odd" if odd >= 0.124 else "plain"
    scores = {"odd": odd, "plain": 1 - odd}
    row = Prediction(path, "ok", None, label, scores[label], scores, threshold=0.124)
    return replace(row, **{"source": "full_frame", **values})  # type: ignore[arg-type]  # any


def face(path: str, odd: float, **values: object) -> Prediction:
    box = (332.0, 230.0, 444.0, 342.0)
    known = {"source": "face", "box": box, "face_score": 0.83, "faces": 1}
    return answer(path, odd, **{**known, **values})


BAD = Prediction("c.png", "error", "Cannot read 'c.png': no such file. Check the path.")
SKIPPED = Prediction("d.png", "skipped", reason="too_small")
PART = {"face_score": 0.9, "label": "plain", "score": 0.9}
PARTS: tuple[dict[str, Any], ...] = tuple(
    {**PART, "box": (10.0 * i, 0.0, 10.0 * i + 40, 40.0), "probabilities": {"odd": 0.1, "plain": p}}
    for i, p in ((1, 0.9), (2, 0.9))
)
ROWS = [
    face("photos/a.png", 0.838),
    face("photos/b.png", 0.148, faces=2),
    answer("photos/landscape.png", 0.126, unsure=True, reason="low_score"),
    answer("photos/whole.png", 0.0),
    BAD,
    SKIPPED,
    face("people.png", 0.1, faces=2, per_face=PARTS),
    face("clip.mp4", 0.9, time_s=0.0),
    face("clip.mp4", 0.9, time_s=12.5),
    answer("clip.mp4", 0.9, source=None, frames=2),
]


class Terminal(io.TextIOWrapper):
    """A standard output that a person looks at."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._written = io.BytesIO()
        super().__init__(self._written, encoding, newline="\n")

    def isatty(self) -> bool:
        """Say so."""
        return True

    def text(self) -> str:
        """Return what was written."""
        self.flush()
        return self._written.getvalue().decode(self.encoding)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 columns without colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def renamed(row: Prediction, labels: LabelSet) -> Prediction:
    """Return the row with other names of its two classes."""
    names = dict(zip(LABELS.names, labels.names, strict=True))
    scores = {names[name]: score for name, score in (row.probabilities or {}).items()}
    return replace(row, label=names.get(str(row.label)), probabilities=scores or None)


def show(
    terminal: Terminal,
    rows: Iterable[Prediction],
    labels: LabelSet = LABELS,
    *,
    single: bool = False,
    folder: str | None = None,
) -> None:
    """Show the table there; the names are known beforehand where the rows are."""
    names = [row.path for row in rows] if isinstance(rows, list) else None
    with contextlib.redirect_stdout(terminal):
        show_table(rows, labels, names, single=single, folder=folder)


def test_table_is_read_in_80_columns(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=iter([10.0, 12.0]).__next__))
    show(terminal, ROWS)
    line = "─" * 80
    assert terminal.text() == (
        "picture               answer     probability     looked at\n"
        f"{line}\n"
        "photos/a.png          odd        0.838 ━━━━━━╾─  face 112 px\n"
        "photos/b.png          odd        0.148 ━───────  from 0.124, face 112 px, 2 seen\n"
        "photos/landscape.png  odd ?      0.126 ━───────  from 0.124\n"
        "                                                 full frame: low score\n"
        "photos/whole.png      plain      1.000 ━━━━━━━━  full frame\n"
        "c.png                 error      no such file. Check the path.\n"
        "d.png                 skipped    too small\n"
        "people.png            plain      0.900 ━━━━━━━─  face 112 px, 2 seen\n"
        "  face 1              plain      0.900 ━━━━━━━─  face 40 px\n"
        "  face 2              plain      0.900 ━━━━━━━─  face 40 px\n"
        "clip.mp4 at 0 s       odd        0.900 ━━━━━━━─  face 112 px\n"
        "clip.mp4 at 12.5 s    odd        0.900 ━━━━━━━─  face 112 px\n"
        "clip.mp4              odd        0.900 ━━━━━━━─  2 frames\n"
        f"{line}\n"
        "7 pictures and 1 video (2 frames) in 2.0 s (4.5 pictures/s): 4 odd, 2 plain, 1\n"
        "skipped, 1 error.\n"
        "1 unsure (marked ?), 2 full frames.\n"
        "'odd' is the answer from probability 0.124 on, whichever class is more probable.\n"
    )


def test_wide_terminal_is_told_more(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    show(terminal, ROWS)
    told = terminal.text()
    for words in (
        "threshold 0.124, face at 332,230-444,342, found with 0.83, 2 faces seen\n",
        "threshold 0.124, full frame: the detector was not sure enough of any face\n",
        "face at 10,0-50,40, found with 0.90\n",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("columns", "width"), [(20, 60), (60, 60), (80, 80), (119, 119), (200, 200), (400, 200)]
)
@pytest.mark.parametrize(
    "labels", [LABELS, LabelSet(("odd", "a label longer than a column"), "odd")]
)
def test_rows_keep_to_their_columns_and_to_the_width(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    width: int,
    labels: LabelSet,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = [replace(row, path=f"photos/写真/{'a long way/' * 30}{row.path}") for row in ROWS]
    rows = [*ROWS, *long, replace(BAD, error="Cannot read it: " + "it is wrong, " * 40)]
    show(terminal, [renamed(row, labels) for row in rows], labels)
    head, rule, *lines = terminal.text().splitlines()
    assert cell_len(rule) == width
    assert max(map(cell_len, lines)) <= width
    starts = [head.index(name) for name in ("answer", "probability", "looked at")]
    with_bars = [line for line in lines if re.search(r" \d\.\d{3} [━╾─]+", line)]
    without = [line for line in lines if re.search(r" (error|skipped) ", line)]
    assert (len(with_bars), len(without)) == (20, 5)
    for line in with_bars + without:
        cells = "".join(c + "\0" * (cell_len(c) - 1) for c in line)  # a character per column
        for start in starts if line in with_bars else starts[:2]:
            assert cells[start - 2 : start] == "  ", line
            assert cells[start] != " ", line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.png", "a.png"),
        ("写真.png", "写真.png"),
        ("🙂.png", "🙂.png"),
        ("évén\u0301ement.png", "évén\u0301ement.png"),
        ("x/" * 40 + "end.png", "x/x/x/x…x/x/x/x/x/end.png"),
        ("写真" * 40 + "終.png", "写真写真…真写真写真終.png"),
        ("e\u0301" * 60 + ".png", "é"),
        ("tab\t.png", r"'tab\t.png'"),
        ("two\nlines.png", r"'two\nlines.png'"),
        ("\x1b[2Jgone.png", r"'\x1b[2Jgone.png'"),
        ("\u202egnp.exe", r"'\u202egnp.exe'"),
        ("\udcff.png", r"'\udcff.png'"),
        ("https://host/" + "deep/" * 20 + "a.png?size=1", "?size=1"),
    ],
    ids=ascii,
)
def test_name_is_seen_with_its_end(terminal: Terminal, name: str, shown: str) -> None:
    show(terminal, [face(name, 0.9)] * 2)
    row = terminal.text().splitlines()[2]
    cell = row[: row.index("  odd ")].rstrip()
    assert shown in cell or unmarked(shown) in unmarked(cell)
    assert cell.isprintable()
    start = cell_len(row[: row.index("odd ")])
    assert start == terminal.text().splitlines()[0].index("answer")
    assert name.isprintable() is False or cell.endswith(name[-4:])
    assert not re.search("…[\u0300-\u036f]", cell)  # no accent on the dots


@pytest.mark.parametrize(
    ("folder", "head", "first"),
    [
        ("/data/of/a/long/way/to/pictures", "In /data/of/a/long/way/to/pictures/", "mask/a.png  "),
        ("photos", "picture", "photos/mask/a.png  "),  # short ones can be copied
    ],
)
def test_long_folder_is_named_once(terminal: Terminal, folder: str, head: str, first: str) -> None:
    show(terminal, [face(f"{folder}/mask/{name}.png", 0.8) for name in "ab"], folder=folder)
    lines = terminal.text().splitlines()
    assert lines[0].startswith(head)
    row = next(line for line in lines if "a.png" in line)
    assert row.startswith(first)


def unmarked(text: str) -> str:
    return text.replace("e\u0301", "é")


def test_label_and_error_reach_the_terminal_printable(terminal: Terminal) -> None:
    labels = LabelSet(("odd\x1b[2J", "plain"), "plain")
    rows = [
        renamed(face("a.png", 0.9), labels),
        replace(BAD, error="Cannot read 'c.png': \x1b]0;mine\x07."),
    ]
    show(terminal, rows, labels)
    assert "\x1b" not in terminal.text()
    assert "\x07" not in terminal.text()


@pytest.mark.parametrize(
    ("variables", "has_colour"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown"}, False),
    ],
)
def test_colours_only_help(
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    has_colour: bool,
) -> None:
    monkeypatch.setattr(screen, "time", SimpleNamespace(monotonic=lambda: 1.0))
    show(terminal, ROWS)
    plain = terminal.text()
    monkeypatch.delenv("NO_COLOR")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    painted = Terminal()
    show(painted, ROWS)
    assert ("\x1b[" in painted.text()) == has_colour
    assert ESCAPE.sub("", painted.text()) == plain
    for line in painted.text().splitlines():  # nothing stays painted, should it end here
        assert "\x1b[" not in line or line.rindex("\x1b[") == line.rindex("\x1b[0m")


def test_terminal_without_the_lines_gets_others(terminal: Terminal) -> None:
    simple = Terminal("ascii")
    show(simple, [face("写真/" + "long" * 30 + ".png", 0.838), face("é.png", 0.838)])
    lines = simple.text().splitlines()
    assert lines[1] == "-" * 80
    assert "0.838 ======--" in lines[2]
    assert "~" in lines[2]
    assert lines[3].startswith(r"\xe9.png ")


def test_row_is_seen_before_the_next_is_asked_for(terminal: Terminal) -> None:
    def slowly() -> Iterator[Prediction]:
        for i in range(3):
            assert f"{i}.png" not in terminal.text()
            assert not i or f"{i - 1}.png" in terminal.text()
            yield face(f"{i}.png", 0.9)

    show(terminal, slowly())
    assert terminal.text().splitlines()[-1].startswith("3 pictures in ")


def test_interrupted_it_tells_what_was_done(terminal: Terminal) -> None:
    def torn() -> Iterator[Prediction]:
        yield from ROWS[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show(terminal, torn())
    *_, row, looked, blank, total, remarks, _ = terminal.text().splitlines()
    assert (row.split()[0], looked.strip()) == ("photos/landscape.png", "full frame: low score")
    assert blank == ""
    assert re.fullmatch(r"Stopped after 3 pictures in \d+\.\d s \(\d+ pictures/s\): 3 odd\.", total)
    assert remarks == "1 unsure (marked ?), 1 full frame."


@pytest.mark.parametrize(
    "row",
    [ROWS[0], ROWS[1], BAD, SKIPPED, face("a.png", 0.9, per_face=PARTS[:1])],
    ids=["face", "threshold", "error", "skipped", "one face of all"],
)
def test_one_picture_by_itself_is_one_line(terminal: Terminal, row: Prediction) -> None:
    show(terminal, [row], single=True)
    assert terminal.text() == f"{prediction_line(row)}\n"


@pytest.mark.parametrize("rows", [ROWS[6:7], ROWS[7:]], ids=["several faces", "video"])
def test_one_input_with_several_answers_is_a_table(
    terminal: Terminal, rows: list[Prediction]
) -> None:
    show(terminal, rows, single=True)
    assert terminal.text().startswith("picture  ")


def test_nothing_is_no_table(terminal: Terminal) -> None:
    show(terminal, [])
    assert terminal.text() == ""


def test_more_classes_are_counted_in_their_order(terminal: Terminal) -> None:
    labels = LabelSet(("c", "b", "a"), "a")
    rows = [
        Prediction(f"{i}.png", "ok", None, name, 0.4, {name: 0.4}, source="full_frame")
        for i, name in enumerate("bcb")
    ]
    show(terminal, rows, labels)
    total, remarks = terminal.text().splitlines()[-2:]
    assert total.endswith(": 1 c, 2 b, 0 a.")
    assert remarks == "3 full frames."  # no threshold: the most probable class is the answer


def test_terminal_is_asked_for_its_width(terminal: Terminal) -> None:
    with contextlib.redirect_stdout(terminal):
        assert read_screen() == screen.Screen(80, False, "utf-8")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_other_forms_are_no_table_on_a_terminal(
    terminal: Terminal, tiny_set: Path, tiny_runs: Path, form: Any
) -> None:
    job = PredictJob([str(tiny_set / "odd")], [tiny_runs / "tiny"], form, device="cpu")
    with contextlib.redirect_stdout(terminal):
        assert predict_and_print(job) == 0
    assert terminal.text()[0] in "[{p"
    assert "─" not in terminal.text()


def run_on_terminal(
    words: Sequence[object], is_time: Callable[[bytes], bool] | None = None
) -> CompletedProcess[str]:
    """Run the command on a terminal of 100 columns; send it Ctrl-C once ``is_time(shown)``."""
    ours, theirs = pty.openpty()
    shown = b""
    # COLUMNS says the width where the terminal's own is 0, as it is here.
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "roi_cls", *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(OSError):  # how Linux tells that the other side was closed
            while data := os.read(ours, 65536):
                shown += data
                assert time.monotonic() < deadline
                if is_time and is_time(shown):
                    os.killpg(process.pid, signal.SIGINT)
                    is_time = None
        os.close(ours)
    return CompletedProcess(
        [*map(str, words)], process.returncode, shown.decode().replace("\r\n", "\n")
    )


@pytest.mark.slow
def test_command_shows_the_table_on_a_terminal_and_lines_in_a_pipe(
    predict: Callable[..., CompletedProcess[str]], tiny_set: Path, tiny_runs: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.png"
    words = [tiny_set / "odd", missing, "--run", tiny_runs / "tiny", "--device", "cpu"]
    done = run_on_terminal(["predict", *words])
    assert done.returncode == 3
    assert "\x1b[" in done.stdout
    engine, *lines = ESCAPE.sub("", done.stdout).splitlines()
    assert engine.startswith("Computing with torch on cpu (fp32): ")
    assert lines[0].split() == ["picture", "answer", "probability", "looked", "at"]
    assert lines[1] == lines[13] == "─" * 100
    assert [line.split()[0][-6:] for line in lines[2:12]] == [f"{4 * i:02}.png" for i in range(10)]
    assert lines[12].split("  ")[-1].startswith("no such file. Check the path.")
    assert lines[14].startswith("11 pictures in ")
    assert "1 error." in " ".join(lines[14:])
    assert predict(tiny_set / "odd").stdout.count(" (full frame)\n") == 10
    assert run_on_terminal(["predict", *words[:1], *words[2:]]).returncode == 0


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_ends_the_table_cleanly(
    tiny_set: Path, tiny_runs: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text(f"{tiny_set / 'odd' / '00.png'}\n" * 100_000)
    words = ["predict", names, "--run", tiny_runs / "tiny", "--device", "cpu", "--workers", 0]
    done = run_on_terminal(words, lambda shown: shown.count(b"00.png") > 50)
    assert done.returncode == 130
    lines = ESCAPE.sub("", done.stdout).splitlines()
    assert any(line.startswith("Stopped after ") for line in lines[-5:])
    assert lines[-1].startswith("Interrupted. ")
    assert "Traceback" not in done.stdout
