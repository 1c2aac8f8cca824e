"""Whether the hub answers, refuses, hangs or is silly, and whether it is needed at all."""

import contextlib
import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from roi_cls.classifier.models.origin import hub_endpoint, hub_failure, is_cached


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def _serving(code: int, asked: list[str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "failure"),
    [(200, None), (401, None), (404, None), (403, "answers 403"), (503, "answers 503")],
)
def test_any_answer_but_a_server_error_is_one(
    monkeypatch: pytest.MonkeyPatch, code: int, failure: str | None
) -> None:
    asked: list[str] = []
    with _serving(code, asked) as address:
        monkeypatch.setenv("HF_ENDPOINT", address + "/")
        found = hub_failure("timm/x/resolve/main/model.safetensors", timeout=5)
    assert asked == ["/timm/x/resolve/main/model.safetensors"]
    assert found == (failure and f"{address}/ {failure}")


def test_server_that_accepts_and_never_answers_is_told_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        started = time.monotonic()
        found = hub_failure(timeout=0.3)
    assert time.monotonic() - started < 2
    assert found in (f"no answer from {address} within 0.3 s", f"{address}: timed out")


def test_name_resolution_that_hangs_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: free.wait(5) and [])
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    started = time.monotonic()
    found = hub_failure(timeout=0.2)
    free.set()
    assert time.monotonic() - started < 2
    assert found == "no answer from http://hub.invalid within 0.2 s"


def test_server_that_speaks_no_http_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        found = hub_failure(timeout=5)
        thread.join()
    assert found is not None
    assert found.startswith(f"{address}: ")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nonsense", "http://[bad"])
def test_unreachable_or_wrong_address_is_told(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    found = hub_failure(timeout=5)
    assert found is not None
    assert found.startswith(f"{address}: ")


@pytest.mark.parametrize("value", ["1", "on", "YES", "true"])
def test_offline_switch_asks_nobody(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert hub_failure() == "HF_HUB_OFFLINE is set"


def test_endpoint_is_the_public_hub_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert hub_endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    assert hub_endpoint() == "http://mirror"


def test_weights_in_the_cache_need_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repository, name: "path" if name == "pytorch_model.bin" else None,
    )
    assert is_cached("timm/x")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a: None)
    assert not is_cached("timm/x")
    assert not is_cached(None)
