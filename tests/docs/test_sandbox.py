"""The sandbox in which a page's commands run, and that a page which says otherwise fails."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def docs() -> Iterator[dict[str, ModuleType]]:
    """Return the scripts in docs by name, imported as they import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(DOCS), *sys.path])
        yield {name: import_module(name) for name in ("sandbox", "run_commands")}


def run_text(docs: dict[str, ModuleType], text: str, folder: Path) -> object:
    """Return the report of a page with this text, run beside an empty world."""
    (folder / "world" / "photos" / "0").mkdir(parents=True)
    (folder / "world" / "photos" / "1").mkdir()
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    runner = docs["run_commands"]
    return runner.run_page(page, "page.md", folder / "world", folder / "run")


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


def test_page_whose_commands_do_as_it_says_passes(
    docs: dict[str, ModuleType], tmp_path: Path
) -> None:
    report = run_text(docs, GOOD, tmp_path)
    assert getattr(report, "failures") == []  # noqa: B009  (a class of a script, not typed here)
    assert getattr(report, "ran") == 6  # noqa: B009  (as above)
    assert getattr(report, "skipped") == [  # noqa: B009  (as above)
        "page.md:16: make train (builds .venv, or trains for minutes)"
    ]


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
    docs: dict[str, ModuleType], tmp_path: Path, text: str, failure: str
) -> None:
    report = run_text(docs, text, tmp_path)
    (found,) = getattr(report, "failures")  # noqa: B009  (a class of a script, not typed here)
    assert found.startswith(failure)


def test_traceback_of_a_script_names_the_line_of_the_page(
    docs: dict[str, ModuleType], tmp_path: Path
) -> None:
    report = run_text(docs, "words\n```python\n\n1 / 0\n```", tmp_path)
    (found,) = getattr(report, "failures")  # noqa: B009  (a class of a script, not typed here)
    assert "line 4" in found


def test_command_that_does_not_end_is_ended(
    docs: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs["sandbox"], "COMMAND_S", 0.5)
    report = run_text(docs, "```sh\nsleep 60\n```", tmp_path)
    (found,) = getattr(report, "failures")  # noqa: B009  (a class of a script, not typed here)
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
def test_server_is_awaited_asked_and_stopped(
    docs: dict[str, ModuleType], tmp_path: Path, code: int
) -> None:
    sandbox = docs["sandbox"].Sandbox(tmp_path)
    program = tmp_path / ".venv" / "bin" / "roi-cls"
    (tmp_path / "server.py").write_text(SERVER.replace("CODE", str(code)))
    program.write_text(f'#!/bin/sh\nexec {sys.executable} server.py "$@"\n')
    assert sandbox.run("roi-cls serve --run demo --port 8000   # a comment").exit_code == 0
    asked = sandbox.run(
        "python -c 'import urllib.request as r; "
        'print(r.urlopen("http://127.0.0.1:8000/").read().decode())\''
    )
    assert asked.stdout == "fine\n"
    assert sandbox.close().exit_code == code
    assert sandbox.close() is None


def test_server_that_does_not_start_is_told(docs: dict[str, ModuleType], tmp_path: Path) -> None:
    sandbox = docs["sandbox"].Sandbox(tmp_path)
    program = tmp_path / ".venv" / "bin" / "roi-cls"
    program.write_text("#!/bin/sh\necho no port >&2; exit 7\n")
    done = sandbox.run("roi-cls serve")
    assert (done.exit_code, done.terminal) == (7, "no port\n")


def test_sandbox_makes_training_small_and_keeps_the_words(
    docs: dict[str, ModuleType], tmp_path: Path
) -> None:
    text = docs["sandbox"]._small_program({"train": "--epochs 1"})
    program = tmp_path / "roi-cls"
    head, _, _ = text.rpartition("exec ")
    program.write_text(f'#!/bin/sh\n{head}printf "<%s>" "$@"\n')
    program.chmod(0o755)
    runner = docs["sandbox"].Sandbox(tmp_path / "box")
    for words, got in (
        ("train 'a b' --folds 5", "<train><a b><--folds><5><--folds><2><--epochs><1>"),
        ("train x", "<train><x><--epochs><1>"),
        ("predict x --json", "<predict><x><--json>"),
    ):
        assert runner.run(f"{program} {words}").stdout == got
