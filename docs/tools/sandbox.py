"""A folder in which a page's commands run, as they are written but smaller.

The sandbox's own ``roi-cls`` adds options that make training tiny: what is compared is the shape
of what is printed, not the numbers. Servers get a free port and are stopped at the end.
"""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from roi_cls.roi.detection.models import user_model_dir

COMMAND_S = 300.0
"""After so long a command is ended and has failed."""
START_S = 120.0
"""After so long a server that does not answer has failed."""
_TINY = "--model test_efficientnet --weights none --size 48 --epochs 1 --head-epochs 0"
SMALLER = {
    "train": _TINY,
    "compare": "--weights none --size 48 --epochs 1 --seeds 1",
    "ablate": f"{_TINY} --seeds 1",
    "tune": "--trials 1 --folds 2 --base .venv/tiny.toml",
}
"""Added behind a command's words, where they win over the page's."""
_TINY_RECIPE = """
[train]
model = "test_efficientnet"
weights = "none"
epochs = 1
[crop]
size_px = 48
"""
_FEWER_FOLDS = 'case " $* " in *" --folds "*) set -- "$@" --folds 2 ;; esac'
_SERVER = re.compile(r"(?:\.venv/bin/)?roi-cls serve\b")
_ADDRESS = re.compile(r"\b(127\.0\.0\.1|localhost):8000\b")
# Lines of progress, and the one that says what computes: pages show neither.
_PROGRESS = re.compile(
    r"^(?:[A-Z]\w+: \d+/\d+\b|Comput(?:ing|ed) with (?:ONNX|torch)).*\n", re.MULTILINE
)
_KEPT_VARIABLES = ("LANG", "LC_ALL", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    exit_code: int | None
    """None: it ran too long."""
    stdout: str
    terminal: str
    """Standard error, too; without the progress that slow commands show."""


class Sandbox:
    """Runs commands in a folder that has its own ``.venv/bin/roi-cls``, and no network weights."""

    def __init__(self, folder: Path, *, smaller: Mapping[str, str] = SMALLER) -> None:
        self._folder = folder
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        binaries = folder / ".venv" / "bin"
        binaries.mkdir(parents=True)
        _write_program(binaries / "python", f'exec {shlex.quote(sys.executable)} "$@"')
        _write_program(binaries / "roi-cls", _small_program(smaller))
        (folder / ".venv" / "tiny.toml").write_text(_TINY_RECIPE, encoding="utf-8")
        self._environment = {
            **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "ROI_CLS_MODEL_DIR": str(user_model_dir()),  # the detectors, fetched by `make setup`
            "ROI_CLS_WORKERS": "0",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
        }

    def run(self, command: str, *, as_terminal: bool = False) -> Done:
        """Run shell words to their end, or a server until it answers.

        as_terminal: both outputs are one, in the order in which they are written.
        """
        words = _ADDRESS.sub(rf"\g<1>:{self._port}", command)
        if _SERVER.match(words):
            return self._serve(words)
        shell = ["bash", "-o", "pipefail", "-c", words]
        return self._communicate(shell, as_terminal=as_terminal)

    def run_python(self, script: str, name: str) -> Done:
        """Run a script; ``name`` stands in its tracebacks."""
        path = self._folder / name
        path.write_text(script, encoding="utf-8")
        return self._communicate([sys.executable, name])

    def close(self) -> Done | None:
        """Stop the server, if one runs, and return how it ended."""
        server, self._server = self._server, None
        if server is None:
            return None
        server.send_signal(signal.SIGTERM)
        try:
            code: int | None = server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            code = None
        return Done(code, "", self._log.read_text(errors="replace"))

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _start(
        self, words: list[str], output: int | IO[bytes], error: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            start_new_session=True,  # so that all of a pipeline can be ended
        )

    def _communicate(self, words: list[str], *, as_terminal: bool = False) -> Done:
        error = subprocess.STDOUT if as_terminal else subprocess.PIPE
        process = self._start(words, subprocess.PIPE, error)
        code: int | None
        try:
            stdout, stderr = process.communicate(timeout=COMMAND_S)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            code = None
        shown, told = (part.decode(errors="replace") for part in (stdout, stderr or b""))
        return Done(code, shown, _PROGRESS.sub("", told + shown))

    def _serve(self, words: str) -> Done:
        self.close()
        port = ["--port", str(self._port)]
        with self._log.open("wb") as log:
            process = self._start(
                [*shlex.split(words, comments=True), *port], log, subprocess.STDOUT
            )
        self._server = process
        end = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < end:
            if _answers(self._port):
                return Done(0, "", self._log.read_text(errors="replace"))
            time.sleep(0.2)
        code = process.poll()
        self.close()
        return Done(code, "", self._log.read_text(errors="replace"))


def _small_program(smaller: Mapping[str, str]) -> str:
    cases = "\n".join(
        f'  {name}) {_FEWER_FOLDS}; set -- "$@" {words} ;;' for name, words in smaller.items()
    )
    return f'case "$1" in\n{cases}\nesac\nexec {shlex.quote(sys.executable)} -m roi_cls "$@"'


def _write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether a server says that it is well; asked without any proxy that is set here."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
