"""The sandbox in which a page's commands run, and that a page which says otherwise fails."""

import sys
from pathlib import Path

import pytest

from docs.tools import run_commands, sandbox
from docs.tools.sandbox import Sandbox


def run_text(text: str, folder: Path) -> run_commands.Report:
    """Return the report of a page with this text, run beside an empty world."""
    (folder / "world" / "photos" / "0").mkdir(parents=True)
    (folder / "world" / "photos" / "1").mkdir()
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return run_commands.run_page(page, "page.md", folder / "world", folder / "run")


GOOD = """
```console
$ echo 'seen 3 faces' && ls photos
seen 1 face
bare
mask
$ echo note >&2; echo answer
note
answer
```
<!-- docs-test: output of: printf '[{"a": 1}, {"a": 2}]' -->
```json
[{"a": 5}]
```
```sh
make train
.venv/bin/python -c 'import sys; sys.exit(0)'
.venv/bin/roi-cls --version | grep roi-cls
```
```python
print("hello")
```
"""


def test_page_whose_commands_do_as_it_says_passes(tmp_path: Path) -> None:
    report = run_text(GOOD, tmp_path)
    assert report.failures == []
    assert report.ran == 6
    assert report.skipped == ["page.md:16: make train (builds .venv, or trains for minutes)"]


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("```sh\n\nfalse | cat\n```", "page.md:3: false | cat\n  exit code 1, not 0\n"),
        ("```sh\nroi-cls trian\n```", "page.md:2: there is no command roi-cls trian"),
        ("`--marign`", "page.md:1: no command has an option --marign"),
        ("```sh\nx", "page.md:1: this code block does not end"),
        (
            "```console\n$ echo other\nthis\n```",
            "page.md:2: echo other\n  nothing printed is like: this\n  | other",
        ),
        (
            "<!-- docs-test: exit: 3 -->\n```sh\ntrue\n```",
            "page.md:3: true\n  exit code 0, not 3\n",
        ),
        (
            "```python\n\n1 / 0\n```",
            "page.md:2: the page's Python\n  exit code 1, not 0\n",
        ),
    ],
)
def test_page_whose_commands_do_otherwise_fails_at_its_line(
    tmp_path: Path, text: str, failure: str
) -> None:
    report = run_text(text, tmp_path)
    (found,) = report.failures
    assert found.startswith(failure)


def test_traceback_of_a_script_names_the_line_of_the_page(tmp_path: Path) -> None:
    report = run_text("words\n```python\n\n1 / 0\n```", tmp_path)
    (found,) = report.failures
    assert "line 4" in found


def test_command_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "COMMAND_S", 0.5)
    report = run_text("```sh\nsleep 60\n```", tmp_path)
    (found,) = report.failures
    assert "it ran too long and was ended" in found


SERVER = """
import http.server, signal, socketserver, sys

class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"fine")

signal.signal(signal.SIGTERM, lambda *_: sys.exit(CODE))
port = int(sys.argv[-1])  # of two, the last one wins
socketserver.TCPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


@pytest.mark.parametrize("code", [0, 1])
def test_server_is_awaited_asked_and_stopped(tmp_path: Path, code: int) -> None:
    box = Sandbox(tmp_path)
    program = tmp_path / ".venv" / "bin" / "roi-cls"
    (tmp_path / "server.py").write_text(SERVER.replace("CODE", str(code)))
    program.write_text(f'#!/bin/sh\nexec {sys.executable} server.py "$@"\n')
    assert box.run("roi-cls serve --run demo --port 8000   # a comment").exit_code == 0
    asked = box.run(
        "python -c 'import urllib.request as r; "
        'print(r.urlopen("http://127.0.0.1:8000/").read().decode())\''
    )
    assert asked.stdout == "fine\n"
    ended = box.close()
    assert ended is not None
    assert ended.exit_code == code
    assert box.close() is None


def test_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    box = Sandbox(tmp_path)
    program = tmp_path / ".venv" / "bin" / "roi-cls"
    program.write_text("#!/bin/sh\necho no port >&2; exit 7\n")
    done = box.run("roi-cls serve")
    assert (done.exit_code, done.terminal) == (7, "no port\n")


def test_sandbox_makes_training_small_and_keeps_the_words(tmp_path: Path) -> None:
    text = sandbox._small_program({"train": "--epochs 1"})
    program = tmp_path / "roi-cls"
    head, _, _ = text.rpartition("exec ")
    program.write_text(f'#!/bin/sh\n{head}printf "<%s>" "$@"\n')
    program.chmod(0o755)
    runner = Sandbox(tmp_path / "box")
    for words, got in (
        ("train 'a b' --folds 5", "<train><a b><--folds><5><--folds><2><--epochs><1>"),
        ("train x", "<train><x><--epochs><1>"),
        ("predict x --json", "<predict><x><--json>"),
    ):
        assert runner.run(f"{program} {words}").stdout == got
