"""``roi-cls serve`` as a process: its address, how it stops, and how it fails to start."""

import builtins
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

Command = Callable[..., CompletedProcess[str]]
PATIENCE_S = 120


@pytest.fixture
def process(tiny_runs: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server of its own, and its port."""
    words = [sys.executable, "-m", "roi_cls", "serve", "--runs", str(tiny_runs), "--port", "0"]
    words += ["--device", "cpu", "--review", str(tmp_path / "review.csv")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as found:
        assert found.stderr
        try:
            assert found.stderr.readline().startswith("Using run 'tiny', the newest in ")
            line = found.stderr.readline()
            address = re.fullmatch(
                r"Serving 'tiny' at http://127\.0\.0\.1:(\d+) \(Ctrl-C stops it\)\n", line
            )
            assert address, line + found.stderr.read()
            yield found, int(address[1])
        finally:
            found.kill()


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("it still takes connections")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_request_that_is_begun_is_answered_and_new_ones_are_refused(
    process: tuple["subprocess.Popen[str]", int], tiny_set: Path, number: signal.Signals
) -> None:
    server, port = process
    picture = (tiny_set / "odd" / "00.png").read_bytes()
    expected = httpx.post(f"http://127.0.0.1:{port}/predict", content=picture, trust_env=False)
    assert expected.status_code == 200
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(head.encode() + picture[:100])
        time.sleep(0.2)  # for the server to see it
        server.send_signal(number)
        wait_until_refused(port)
        connection.sendall(picture[100:])
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(expected.content)
    assert server.wait(PATIENCE_S) == 0
    assert server.stderr
    engine, ended = server.stderr.read().splitlines()
    assert engine.startswith("Computing with torch on cpu (fp32): run 'tiny' has no model.onnx")
    assert ended == "Stopped; every request was answered."


def test_taken_port_is_told(command: Command, tiny_runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = command("serve", "--runs", tiny_runs, "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: Cannot listen at 127.0.0.1 port {port}: address already in use. Give" in (
        done.stderr
    )


def test_address_of_another_machine_is_told(command: Command, tiny_runs: Path) -> None:
    done = command("serve", "--runs", tiny_runs, "--host", "192.0.2.1")
    assert done.returncode == 1
    assert "Cannot listen at 192.0.2.1 port 8000: " in done.stderr


def test_missing_package_is_told_with_what_installs_it(
    command: Command, tiny_runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    done = command("serve", "--runs", tiny_runs)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: Cannot serve: the package 'uvicorn' is not installed. "
        "Install it with: pip install 'roi-cls[serve]'"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--run", "tiny", "--model", "m.onnx"), "--run and --model exclude each other"),
        (("tiny", "--model", "m.onnx"), "--run and --model exclude each other"),
        (("--max-bytes", "much"), "'much' is no size; write it like 500MB"),
        (("--timeout", "long"), "'long' is no span of time"),
        (("--max-bytes", "0MB"), "--max-bytes must be above 0"),
        (("--timeout", "0s"), "--timeout must be above 0"),
        (("--queue", "0"), "Invalid value for '--queue'"),
    ],
)
def test_wrong_usage_exits_2(
    command: Command, tiny_runs: Path, words: tuple[str, ...], message: str
) -> None:
    done = command("serve", "--runs", tiny_runs, *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_building_the_command_imports_no_server() -> None:
    code = "import sys, roi_cls.cli; print({'fastapi', 'uvicorn', 'numpy'} & set(sys.modules))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout == "set()\n"
