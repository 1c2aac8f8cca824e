"""Pictures from the web: what is fetched, and what is refused and why. Against a server here."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from roi_cls.base.errors import ImageReadError
from roi_cls.classifier.inference.loaded import LoadedModel
from roi_cls.inputs import web
from roi_cls.inputs.names import is_url
from roi_cls.inputs.web import MOST_REDIRECTS, WebLimits, fetch

Command = Callable[..., CompletedProcess[str]]
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def serve(answers: dict[str, Answer]) -> Iterator[str]:
    """Give the address of a server with these answers, ``http://127.0.0.1:PORT``, until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the client has gone away, as it may
                answers.get(self.path, status(404))(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def body(data: bytes, kind: str = "image/png") -> Answer:
    """Answer with these bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Answer without an end, and without a length."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"\0" * 2**16)


def promise(length: int, data: bytes) -> Answer:
    """Promise so many bytes and send these."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def drip(head: bool) -> Answer:
    """Answer a byte at a time, the headers too or the body alone, for some seconds."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not head:
            handler.send_response(200)
            handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b"H")
            time.sleep(0.05)

    return answer


def redirect(place: str) -> Answer:
    """Send somewhere else."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def status(code: int) -> Answer:
    """Answer with this status, and words of the server's own."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code, "\x1b[31mOwned")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def chunked(data: bytes) -> Answer:
    """Answer in chunks, as servers do that know no length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(data), 100):
            piece = data[start : start + 100]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def babble(handler: BaseHTTPRequestHandler) -> None:
    """Answer with what is no HTTP, and moves a terminal's cursor."""
    handler.wfile.write(b"\x1b[31mOwned" + b"!" * 1000 + b"\r\n")


DATA = bytes(range(256)) * 10
HERE = WebLimits(timeout_s=5.0, max_bytes=10_000, allow_private=True)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A server's address."""
    answers = {
        "/a.png": body(DATA),
        "/a%20%C3%BC.png?x=1&y=a%2Fb": body(b"quoted"),
        "/chunked": chunked(DATA),
        "/endless": endless,
        "/large": promise(10**9, b""),
        "/short": promise(100, b"1234567"),
        "/drip": drip(head=False),
        "/drip-head": drip(head=True),
        "/moved": redirect("/a.png"),
        "/moved-to-file": redirect("file:///etc/passwd"),
        "/moved-to-local": redirect("http://localhost/x"),
        "/moved-far": redirect("ftp://host/" + "a" * 10_000),
        "/circle": redirect("/circle"),
        "/babble": babble,
        "/500": status(500),
        "/empty": body(b""),
    }
    with serve(answers) as address:
        yield address


def refusal(url: str, limits: WebLimits = HERE) -> str:
    with pytest.raises(ImageReadError) as caught:
        fetch(url, limits)
    text = str(caught.value)
    assert text.startswith(f"Cannot read {url!r}: ")
    return text.removeprefix(f"Cannot read {url!r}: ")


@pytest.mark.parametrize("path", ["/a.png", "/chunked", "/moved"])
def test_bytes_are_fetched_as_they_are(site: str, path: str) -> None:
    assert fetch(site + path, HERE) == DATA


def test_url_is_quoted_once(site: str) -> None:
    assert fetch(f"{site}/a%20%C3%BC.png?x=1&y=a%2Fb", HERE) == b"quoted"
    assert fetch(f"{site}/a ü.png?x=1&y=a%2Fb#part", HERE) == b"quoted"


def test_upper_case_scheme_is_a_url(site: str) -> None:
    assert is_url("HTTPS://host")
    assert not is_url("s3://bucket/http://x")
    assert fetch(f"HTTP{site.removeprefix('http')}/a.png", HERE) == DATA


def test_answer_of_just_the_limit_is_read(site: str) -> None:
    assert fetch(f"{site}/a.png", WebLimits(5.0, len(DATA), True)) == DATA
    assert fetch(f"{site}/chunked", WebLimits(5.0, len(DATA), True)) == DATA


@pytest.mark.parametrize("path", ["/a.png", "/chunked", "/endless", "/large"])
def test_longer_answer_is_refused_whether_it_tells_its_length_or_not(site: str, path: str) -> None:
    assert refusal(site + path, WebLimits(5.0, len(DATA) - 1, True)) == (
        "it has more than 2.6 KB. Raise --max-bytes, or download it first."
    )


def test_answer_that_is_cut_off_is_refused(site: str) -> None:
    assert refusal(f"{site}/short") == "it ended after 7 of 100 bytes. Try again."


@pytest.mark.parametrize("path", ["/drip", "/drip-head"])
def test_slow_answer_is_given_up_after_the_time_for_all_of_it(site: str, path: str) -> None:
    start = time.monotonic()
    assert refusal(site + path, WebLimits(0.3, 10_000, True)) == (
        "it took longer than 0.3 s. Try again, or raise --timeout."
    )
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "the server answered 404 Not Found"),
        ("/500", "the server answered 500 Internal Server Error"),
    ],
)
def test_other_status_is_told_in_our_own_words(site: str, path: str, reason: str) -> None:
    assert refusal(site + path) == f"{reason}. Check the address, or download it and give the file."


def test_words_of_a_server_are_cut_short_and_escaped(site: str) -> None:
    told = refusal(f"{site}/babble")
    assert told.startswith("the connection failed ('\\x1b[31mOwned!!!")
    assert told.isprintable()
    assert len(told) < 300
    told = refusal(f"{site}/moved-far")
    assert told.startswith("it redirects to 'ftp://host/aaa")
    assert "aaa…': ftp:// is neither http:// nor https://. " in told
    assert len(told) < 400


def test_endless_redirects_are_given_up(site: str) -> None:
    assert refusal(f"{site}/circle").startswith(f"it redirects more than {MOST_REDIRECTS} times. ")


def test_redirect_to_a_file_is_refused(site: str) -> None:
    assert refusal(f"{site}/moved-to-file") == (
        "it redirects to 'file:///etc/passwd': file:// is neither http:// nor https://. "
        "Check the address, or download it and give the file."
    )


def test_address_of_this_machine_is_refused_unless_allowed(site: str) -> None:
    assert refusal(f"{site}/a.png", WebLimits(5.0)) == (
        "its host '127.0.0.1' has the address 127.0.0.1, which is not public. "
        "Give --allow-private if it may be fetched from your own network."
    )


def resolve(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> list[str]:
    """Let names stand for these addresses, each one the next time; return the names asked for."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        addresses = answers[host]
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_redirect_into_the_own_network_is_refused(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "is_public", lambda text: text == "127.0.0.1")
    resolve(monkeypatch, {"127.0.0.1": ["127.0.0.1"], "localhost": ["192.168.0.1"]})
    assert refusal(f"{site}/moved-to-local", WebLimits(5.0)) == (
        "it redirects to 'http://localhost/x': its host 'localhost' has the address 192.168.0.1, "
        "which is not public. Give --allow-private if it may be fetched from your own network."
    )


def test_address_that_was_checked_is_the_one_connected_to(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may stand for a public address when it is checked, and for ours a moment later."""
    port = site.rpartition(":")[2]
    places: list[object] = []

    class Watched(socket.socket):
        def connect(self, place: object) -> None:
            places.append(place)
            raise ConnectionRefusedError(111, "Connection refused")

    asked = resolve(monkeypatch, {"rebound.test": ["93.184.215.14", "127.0.0.1"]})
    monkeypatch.setattr(socket, "socket", Watched)
    assert refusal(f"http://rebound.test:{port}/a.png", WebLimits(5.0)) == (
        "the connection failed (Connection refused). Check the address and the network."
    )
    assert places == [("93.184.215.14", int(port))]
    assert asked == ["rebound.test"]


def test_next_address_is_tried_where_one_does_not_answer(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(site.rpartition(":")[2])

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            closed = free.getsockname()[1]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each))
            for each in (closed, port)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert fetch(f"http://two.test:{port}/a.png", HERE) == DATA


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://", "it has no host. "),
        ("http://user:secret@127.0.0.1/", "it has a user name in it. "),
        ("http://host:99999/", "it is no proper URL (Port out of range 0-65535). "),
        ("http://[::1/", "it is no proper URL (Invalid IPv6 URL). "),
        ("http://127.0.0.1:1/", "the connection failed (Connection refused). "),
        (f"http://{'a' * 70}.test/", f"its host {'a' * 70 + '.test'!r} is not found ("),
    ],
    ids=lambda value: value[:30],
)
def test_url_that_leads_nowhere_is_told(url: str, reason: str) -> None:
    assert refusal(url).startswith(reason)


def test_unknown_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert refusal("http://nowhere.test/a.png") == (
        "its host 'nowhere.test' is not found (Name or service not known). "
        "Check the address and the network."
    )


def test_silent_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silent.wait(5) and [])
    try:
        assert refusal("http://slow.test/", WebLimits(0.1)).startswith("it took longer than 0.1 s")
    finally:
        silent.set()


def test_server_without_tls_is_no_https(site: str) -> None:
    text = refusal(f"https{site.removeprefix('http')}/a.png")
    assert text.startswith("the connection failed (")


def test_certificate_nobody_trusts_is_told(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Distrusting:
        def wrap_socket(self, line: socket.socket, server_hostname: str) -> socket.socket:
            assert server_hostname == "127.0.0.1"
            error = ssl.SSLCertVerificationError(1, "certificate verify failed")
            error.verify_message = "self-signed certificate"
            raise error

    monkeypatch.setattr(web, "_tls", Distrusting)
    assert refusal(f"https{site.removeprefix('http')}/a.png") == (
        "its server's certificate is not trusted (self-signed certificate). "
        "Check the address and this machine's clock."
    )


def test_https_checks_names_and_certificates() -> None:
    from roi_cls.inputs.web import _tls

    context = _tls()
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


@pytest.fixture(scope="module")
def gallery(tiny_set: Path) -> Iterator[str]:
    """A server's address, with a picture and what is none."""
    picture = (tiny_set / "odd" / "00.png").read_bytes()
    page = b"<!doctype html><p>Please log in"
    answers = {
        "/00.png": body(picture, "text/html"),
        "/page.png": body(page, "image/png"),
        "/large.png": promise(10**9, b""),
        "/slow.png": drip(head=False),
    }
    with serve(answers) as address:
        yield address


@pytest.fixture
def predict(predict: Command) -> Command:
    return partial(predict, "--allow-private")


def test_url_is_predicted_like_its_file_and_its_bytes(
    predict: Command, gallery: str, tiny_set: Path
) -> None:
    picture = tiny_set / "odd" / "00.png"
    by_url = json.loads(predict(f"{gallery}/00.png", "--json").stdout)
    by_file = json.loads(predict(picture, "--json").stdout)
    by_pipe = json.loads(predict("-", "--json", stdin=picture.read_bytes()).stdout)
    assert by_url.pop("path") == f"{gallery}/00.png"
    assert by_file.pop("path") == str(picture)
    assert by_pipe.pop("path") == "-"
    assert by_url == by_file == by_pipe


def test_url_that_gives_no_picture_is_a_row_in_its_place(
    predict: Command, gallery: str, tiny_set: Path
) -> None:
    picture = tiny_set / "odd" / "00.png"
    names = ["slow.png", "page.png", "large.png", "none.png", "00.png"]
    urls = [f"{gallery}/{name}" for name in names]
    done = predict(*urls, picture, "--jsonl", "--timeout", "0.5", "--max-bytes", "1MB")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert [row["path"] for row in rows] == [*urls, str(picture)]
    assert [row["status"] for row in rows] == ["error"] * 4 + ["ok"] * 2
    reasons = ["it took longer", "it is an HTML", "it has more", "the server answered 404"]
    for row, reason in zip(rows[:4], reasons, strict=True):
        assert row["error"].startswith(f"Cannot read {row['path']!r}: {reason}")


def test_own_network_is_left_alone_unless_it_is_allowed(
    command: Command, gallery: str, tiny_runs: Path
) -> None:
    done = command("predict", f"{gallery}/00.png", "--json", "--runs", tiny_runs)
    assert done.returncode == 3
    assert "which is not public. Give --allow-private" in json.loads(done.stdout)["error"]


def test_piped_list_may_hold_urls(predict: Command, gallery: str) -> None:
    done = predict("-", "--json", stdin=f"{gallery}/00.png\n".encode())
    (row,) = json.loads(done.stdout)
    assert (done.returncode, row["path"], row["status"]) == (0, f"{gallery}/00.png", "ok")


def test_interrupt_waits_for_no_server(
    predict: Command, gallery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(LoadedModel, "probabilities", interrupt)
    start = time.monotonic()
    done = predict(f"{gallery}/00.png", f"{gallery}/slow.png", "--batch", 1)
    assert (done.returncode, done.stdout) == (130, "")
    assert time.monotonic() - start < 8  # the server takes 10 s
