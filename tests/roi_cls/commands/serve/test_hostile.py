"""Requests that no well-meaning client sends: each is refused in words, and none is a 5xx."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from roi_cls.data.review import read_corrections

HOST = b"Host: localhost\r\n"
PATIENCE_S = 30
JSON = {"Content-Type": "application/json"}


def mark(**changes: str) -> bytes:
    """Return a correction as JSON, values being JSON themselves."""
    one = {"name": '"a.png"', "sha256": json.dumps("a" * 64), "answer": '"dull"'}
    one |= {"label": '"bright"', "probability": "0.75", **changes}
    return ("{" + ",".join(f'"{name}":{value}' for name, value in one.items()) + "}").encode()


def form(head: bytes) -> bytes:
    """Return a form of one part, with its head."""
    return b"--x\r\n" + head + b"\r\n\r\nhello\r\n--x--\r\n"


def counted(served: Any, path: str) -> dict[tuple[str, str], float]:
    """Return how many requests to a path were answered, by method and status."""
    families = text_string_to_metric_families(served.client.get("/metrics").text)
    return {
        (one.labels["method"], one.labels["status"]): one.value
        for family in families
        for one in family.samples
        if one.name == "roi_cls_requests_total" and one.labels["path"] == path
    }


@contextlib.contextmanager
def connected(served: Any) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", served.client.base_url.port)) as connection:
        connection.settimeout(PATIENCE_S)
        yield connection


def ask(served: Any, request: bytes) -> bytes:
    """Send bytes as they are and return the answer, which ends the connection."""
    with connected(served) as connection:
        connection.sendall(request)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                found += chunk
    return found


@pytest.mark.parametrize("origin", ["http://[::1", "http://[", "http://[v1.x]a"])
def test_origin_that_is_no_address_is_none_of_ours(served: Any, origin: str) -> None:
    headers = {"Origin": origin}
    assert served.client.get("/health", headers=headers).status_code == 200
    assert served.client.post("/review", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (mark(name="NaN"), "name: Input should be a valid string"),
        (mark(name='{"a": Infinity}'), "name: Input should be a valid string"),
        (mark(probability="NaN"), "probability must be between 0 and 1, got nan"),
        (mark(probability="1" + "0" * 5000), "Invalid JSON: number out of range"),
        (mark(label='"\\ud800"'), "Invalid JSON: unexpected end of hex escape"),
        (mark(label='"' + "b" * 60_000 + '"'), "There is no class 'bbb"),
        (b"\xff\xfe", "Invalid JSON: expected value"),
        (b"[" * 50_000, "Invalid JSON: recursion limit exceeded"),
        (b"null", "Input should be an object"),
        (b"", "Invalid JSON: EOF while parsing a value"),
        (b'{"name": "a.png"}', "sha256: Field required"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_correction_that_cannot_be_read_is_422(served: Any, body: bytes, detail: str) -> None:
    answer = served.client.post("/review", content=body, headers=JSON)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert len(answer.content) < 1000


def test_correction_that_is_no_correction_of_that_size_is_413(served: Any) -> None:
    endless = (b" " * 10_000 for _ in range(100))
    answer = served.client.post("/review", content=endless, headers=JSON)
    words = "The request is larger than 65.5 KB. Send less at once."
    assert (answer.status_code, answer.json()) == (413, {"detail": words})


def test_correction_that_comes_too_slowly_is_408(
    serving: Any, face_run: Path, tmp_path: Path
) -> None:
    with (
        serving(face_run, tmp_path / "review.csv", timeout_s=0.5) as served,
        connected(served) as connection,
    ):
        head = b"POST /review HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        connection.sendall(head + HOST + b"\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_correction_may_not_come_as_a_form_of_another_page_does(served: Any) -> None:
    # A page elsewhere may send these kinds without asking the server first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = served.client.post("/review", content=mark(), headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert answer.json() == {"detail": "A correction is JSON. Send it as application/json."}


def test_fields_of_a_correction_are_lines_of_text_and_not_without_end(
    serving: Any, face_run: Path, tmp_path: Path
) -> None:
    review = tmp_path / "review.csv"
    name = json.dumps("=1\r\n+2\0\u2028" + "é" * 3000)
    with serving(face_run, review) as served:
        answer = served.client.post("/review", content=mark(name=name), headers=JSON)
        assert answer.status_code == 204
    ((correction,), faults) = read_corrections(review)
    assert correction.name == ("=1  +2  " + "é" * 3000)[:255]
    assert faults == ()
    assert review.read_text(encoding="utf-8").splitlines()[1].startswith("'=1  +2")


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=" + b"x" * 5000,
        b"multipart/form-data; boundary=\xff\xfe",
        b"multipart/form-data; boundary*=nope''x",
        b"multipart/form-data;;;=;boundary",
    ],
    ids=lambda value: str(value)[:45],
)
def test_form_with_an_odd_boundary_is_400(served: Any, kind: bytes) -> None:
    headers = [(b"Content-Type", kind)]
    body = form(b'Content-Disposition: form-data; filename="a"')
    answer = served.client.post("/predict", content=body, headers=headers)
    assert answer.status_code == 400
    words = ("The form is broken: ", "The request's Content-Type is multipart/form-data without ")
    assert answer.json()["detail"].startswith(words)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'form-data; name="f"; filename="../../etc/passwd"', "../../etc/passwd"),
        (b'form-data; filename="a\0b"', "a\0b"),
        (b'form-data; filename="\xff\xfe"', "\ufffd\ufffd"),
        (b'form-data; filename="\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'form-data; filename="' + b"a" * 3000 + b'"', "a" * 255),
        (b'form-data; filename=""', "-"),
        (b"form-data; filename", "-"),
        # Forms may not name files in this way, yet some do: no picture is passed over.
        (b"form-data; name=f; filename*=utf-8''a%20b.png", "-"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_file_with_an_odd_name_is_a_row_with_a_name(served: Any, head: bytes, name: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = form(b"Content-Disposition: " + head)
    answer = served.client.post("/predict", content=body, headers=headers)
    assert (answer.status_code, answer.json()[0]["path"]) == (422, name)


@pytest.mark.parametrize("head", [b"A: b\r\n" * 100_000, b"A: " + b"b" * 1_000_000 + b"\r\n"])
def test_part_with_a_head_without_end_is_400(served: Any, head: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = served.client.post("/predict", content=form(head), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("The form is broken: ")


@pytest.mark.parametrize("path", ["/predict", "/look", "/explain", "/review"])
def test_client_that_goes_away_is_no_failure_of_the_server(
    served: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted(served, path)
    with connected(served) as connection:
        head = f"POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        connection.sendall(head.encode() + HOST + b"\r\n{")
        time.sleep(0.1)  # for the server to begin
    deadline = time.monotonic() + PATIENCE_S
    while (now := counted(served, path)) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert now.pop(("POST", "499")) == before.pop(("POST", "499"), 0) + 1
    assert now == before
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/page/page.js"])
def test_head_is_answered_as_get_is_without_the_body(served: Any, path: str) -> None:
    head, get = served.client.head(path), served.client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers.keys() == get.headers.keys()
    assert served.client.head("/predict").status_code == 405
    assert served.client.head("/no/such").status_code == 404


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"OPTIONS * HTTP/1.1\r\n" + HOST, b"404"),
        (b"OPTIONS /predict HTTP/1.1\r\n" + HOST, b"405"),
        (b"BREW /predict HTTP/1.1\r\n" + HOST, b"405"),
        (b"TRACE / HTTP/1.1\r\n" + HOST, b"405"),
        (b"CONNECT evil:80 HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"Host: evil\r\n", b"400"),
        (b"GET /health HTTP/1.0\r\n", b"421"),
        (b"GET /page/../serving.py HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /page/..%2fserving.py HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /page/%2e%2e/%2e%2e/x HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /page/page.js%00.css HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /%ff%zz%00 HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST, b"404"),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000, b"400"),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 19, b"413"),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n", b"400"),
        (b"POST /explain?png=maybe HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n", b"422"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_odd_request_has_its_status(served: Any, request_: bytes, status: bytes) -> None:
    answer = ask(served, request_.rstrip(b"\r\n") + b"\r\nConnection: close\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 " + status + b" "), answer[:200]


def test_heads_of_any_size_are_refused_and_others_still_answered(served: Any) -> None:
    ask(served, b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 1_000_000 + b"\r\n\r\n")
    with connected(served) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")  # and never more
        assert served.client.get("/health").status_code == 200


def test_pipelined_requests_are_answered_in_order(served: Any) -> None:
    body = b"POST /predict?name=%d HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n%s\r\nabc"
    close = b"Connection: close\r\n"
    answer = ask(served, b"".join(body % (i, close if i == 4 else b"") for i in range(5)))
    assert answer.count(b"HTTP/1.1 422 ") == 5
    places = [answer.index(b'"path": "%d"' % i) for i in range(5)]
    assert places == sorted(places)


def test_every_status_is_told_beforehand(served: Any) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    told = {path: set(next(iter(ways.values()))["responses"]) for path, ways in paths.items()}
    of_pictures = {"200", "400", "403", "408", "413", "415", "421", "422", "503"}
    assert told == {
        "/predict": of_pictures | {"507"},
        "/look": of_pictures | {"507"},
        "/explain": of_pictures,
        "/review": {"204", "400", "403", "408", "413", "415", "421", "422", "507"},
        **{path: {"200", "421"} for path in ("/health", "/model", "/metrics")},
    }
