"""The ways in which pictures may be sent, and what is said to those who send them otherwise."""

import base64
import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HEAD = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
JSON = {"Content-Type": "application/json"}
SEND_FILE = "Send the file itself, like curl -F file=@picture.png."
SEND_JSON = 'Send {"image": "<base64>"}, or {"images": ["<base64>", …]}.'
NO_BOUNDARY = (
    "The request's Content-Type is multipart/form-data without the boundary that divides its "
    "parts. Give no Content-Type of your own: what makes the form adds it, like "
    "curl -F file=@picture.png."
)
OTHER_BOUNDARY = (
    "The form is broken: it does not begin with the boundary that its Content-Type names. Let what "
    "makes the form set that header, like curl -F file=@picture.png."
)
CUT_SHORT = "The form is broken: it ends before its last boundary. Send it again."


@pytest.fixture(scope="module")
def png(pictures: Path) -> bytes:
    return (pictures / "0.png").read_bytes()


def pack(data: bytes) -> str:
    return base64.b64encode(data).decode()


def refused(served: Any, body: Any, headers: dict[str, str], status: int = 400) -> str:
    """Return why the body is refused."""
    answer = served.client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    detail: str = answer.json()["detail"]
    return detail


@pytest.mark.parametrize(
    ("kind", "body", "detail"),
    [
        ("multipart/form-data", b"--x\r\n", NO_BOUNDARY),
        ("Multipart/Form-Data; charset=utf-8", b"", NO_BOUNDARY),
        (FORM["Content-Type"], b"nothing like it", OTHER_BOUNDARY),
        (FORM["Content-Type"], HEAD.replace(b"--x", b"--y") + b"1\r\n--y--\r\n", OTHER_BOUNDARY),
        (FORM["Content-Type"], b"", f"The form holds no file. {SEND_FILE}"),
        (FORM["Content-Type"], b"--x--\r\n", f"The form holds no file. {SEND_FILE}"),
        (FORM["Content-Type"], HEAD + b"abc", CUT_SHORT),
        (FORM["Content-Type"], HEAD + b"abc\r\n--x\r\n", CUT_SHORT),
        (FORM["Content-Type"], HEAD[:30], CUT_SHORT),
        (
            FORM["Content-Type"],
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nimg.png\r\n--x--\r\n',
            f"The form holds no file: its field 'file' is the text 'img.png'. {SEND_FILE}",
        ),
        (
            FORM["Content-Type"],
            HEAD[:-2] + b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--x--\r\n",
            f"A part of the form is base64, which forms do not have. {SEND_FILE}",
        ),
        (
            "application/x-www-form-urlencoded",
            b'{"image": "aGVsbG8="}',
            "The body is JSON, sent as Content-Type 'application/x-www-form-urlencoded'. Send it "
            "with Content-Type: application/json.",
        ),
        (
            "application/x-www-form-urlencoded",
            b"file=img.png",
            "The body is a field with text, sent as Content-Type "
            f"'application/x-www-form-urlencoded'. {SEND_FILE}",
        ),
        (
            "text/plain",
            HEAD + b"abc\r\n--x--\r\n",
            "The body is a form, sent as Content-Type 'text/plain'. Send it with Content-Type: "
            "multipart/form-data and its boundary.",
        ),
        (
            "",
            b"data:image/png;base64,iVBORw0KGgo=",
            "The body is base64, sent without a Content-Type. Send the picture's own bytes, or "
            f"JSON: {SEND_JSON}",
        ),
    ],
)
def test_body_that_is_not_what_its_header_says_is_told_so(
    served: Any, kind: str, body: bytes, detail: str
) -> None:
    assert refused(served, body, {"Content-Type": kind} if kind else {}) == detail


def test_any_field_may_hold_the_file_and_text_beside_it_is_passed_over(
    served: Any, png: bytes
) -> None:
    expected = served.client.post("/predict", files={"files": ("a.png", png)}).json()
    for name in ("file", "image", "upload[]", ""):
        sent = {name: ("a.png", png), "note": (None, b"hello")}
        assert served.client.post("/predict", files=sent).json() == expected


@pytest.mark.parametrize("kind", ["", "Content-Type: image/png\r\n"])
def test_picture_in_a_part_that_names_no_file_is_one(served: Any, png: bytes, kind: str) -> None:
    head = f'--x\r\nContent-Disposition: form-data; name="file"\r\n{kind}\r\n'
    answer = served.client.post(
        "/predict", content=head.encode() + png + b"\r\n--x--\r\n", headers=FORM
    )
    assert [(row["path"], row["status"]) for row in answer.json()] == [("-", "ok")]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "data:image/png;base64," + text,
        lambda text: "\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    ],
    ids=["plain", "data: URL", "in lines", "URL-safe without padding"],
)
def test_picture_in_json_is_answered_as_in_the_body(served: Any, png: bytes, change: Any) -> None:
    expected = served.client.post("/predict?name=a.png", content=png).json()
    body = {"image": change(pack(png)), "name": "a.png"}
    assert served.client.post("/predict", json=body).json() == expected
    del body["name"]
    assert served.client.post("/predict?name=a.png", json=body).json() == expected
    assert served.client.post("/look?name=a.png", json=body).json()["prediction"] == expected
    assert served.client.post("/explain?name=a.png", json=body).json()["prediction"] == expected


def test_pictures_in_json_are_answered_as_in_a_form(served: Any, pictures: Path) -> None:
    files = [("files", (f"{i}", (pictures / f"{i}.png").read_bytes())) for i in (3, 9, 8)]
    expected = served.client.post("/predict", files=files)
    images = [{"image": pack(data), "name": name} for _, (name, data) in files]
    answer = served.client.post("/predict", json={"images": images})
    assert (answer.status_code, answer.json()) == (200, expected.json())
    (row,) = served.client.post("/predict", json={"images": [images[0]["image"]]}).json()
    assert row == {**expected.json()[0], "path": "-"}
    two = served.client.post("/look", json={"images": images[:2]})
    assert two.json() == {"detail": "There are 2 pictures in the request. Send one."}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"inputs": "aGk="}', f"The body has an unknown key 'inputs'. {SEND_JSON}"),
        ('"aGk="', f"The body is no object. {SEND_JSON}"),
        ("{}", f'The body needs "image" as text; "name" is text. {SEND_JSON}'),
        ('{"image": 7}', f'The body needs "image" as text; "name" is text. {SEND_JSON}'),
        ('{"image": "aGk=", "name": 7}', 'The body needs "image" as text; "name" is '),
        ('{"image": ""}', f"The body holds no picture: it is empty. {SEND_JSON}"),
        ('{"image": "a%k="}', f"The body is not base64: it holds '%'. {SEND_JSON}"),
        ('{"image": "aGkx\xe9"}', "The body is not base64: it holds '\xe9'. "),
        ('{"image": "aGkxM"}', "The body is not base64: it is cut short. Send it again."),
        ('{"image": "https://x/a.png"}', "The body is an address, and the server fetches none. "),
        ('{"images": []}', f'There is no picture in "images". {SEND_JSON}'),
        ('{"images": "aGk="}', f'Beside "images", a list, there is nothing. {SEND_JSON}'),
        ('{"images": ["aGk="], "n": 1}', f'Beside "images", a list, there is nothing. {SEND_JSON}'),
        ('{"images": ["aGk=", {"url": ""}]}', "images[1] has an unknown key 'url'. "),
        ('{"images": ["aGk=", "?"]}', "images[1] is not base64: it holds '?'. "),
        ('{"image": ', "The body is not JSON, as its Content-Type says: EOF while parsing"),
        ("[" * 10_000, "The body is not JSON, as its Content-Type says: recursion limit"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_json_that_holds_no_picture_is_told_what_to_send(
    served: Any, body: str, detail: str
) -> None:
    found = refused(served, body, JSON)
    assert found.startswith(detail)
    assert len(found) < 300


@pytest.fixture(scope="module")
def narrow(serving: Any, face_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that takes little."""
    review = tmp_path_factory.mktemp("narrow") / "review.csv"
    with serving(face_run, review, max_bytes=50_000, max_pictures=2) as found:
        yield found


def test_limits_count_the_pictures_and_not_their_base64(narrow: Any) -> None:
    fits, large = pack(bytes(50_000)), pack(bytes(25_001))
    answer = narrow.client.post("/predict", json={"image": fits})
    assert (answer.status_code, answer.json()["status"]) == (422, "error")
    words = "The pictures are larger than 50.0 KB. Send less at once."
    assert refused(narrow, json.dumps({"images": [large, large]}), JSON, 413) == words
    words = "The request holds more than 2 pictures. Send them in parts."
    assert refused(narrow, json.dumps({"images": [fits[:8]] * 3}), JSON, 413) == words
    endless = (b" " * 10_000 for _ in range(100))
    words = "The request is larger than 50.0 KB. Send less at once."
    assert refused(narrow, endless, JSON, 413) == words


@pytest.mark.parametrize("value", ["[]", "{}", '"a"', "[[1"])
def test_json_of_very_many_values_is_refused_before_it_is_parsed(
    served: Any, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    def parse(text: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr("roi_cls.commands.serve.uploads.from_json", parse)
    body = '{"images": [' + ",".join([value] * 30_000) + "]}"
    words = f"The body has more brackets and commas than pictures need. {SEND_JSON}"
    assert refused(served, body, JSON, 413) == words


def test_base64_between_blanks_is_taken_without_a_text_for_each(served: Any, png: bytes) -> None:
    expected = served.client.post("/predict", content=png).json()
    body = {"image": " \n\t".join(pack(png))}
    assert served.client.post("/predict", json=body).json() == expected


def test_form_of_very_many_fields_is_refused(served: Any) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    words = f"The form has too many fields. {SEND_FILE}"
    assert refused(served, field * 5_000 + b"--x--\r\n", FORM, 413) == words


def test_picture_whose_size_reads_like_a_field_is_one(served: Any) -> None:
    body = b"RIFFB=0\x00WEBPVP8 "  # the four bytes of the length are B=0 and a zero
    answer = served.client.post("/predict", content=body)
    assert (answer.status_code, answer.json()["status"]) == (422, "error")


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("gzip", gzip.compress),
        ("GZip", lambda data: gzip.compress(data[:500]) + gzip.compress(data[500:])),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare),
        ("identity", lambda data: data),
    ],
)
def test_packed_body_is_answered_as_what_it_holds(
    served: Any, png: bytes, name: str, packed: Any
) -> None:
    headers = {"Content-Encoding": name}
    expected = served.client.post("/predict", content=png).json()
    answer = served.client.post("/predict", content=packed(png), headers=headers)
    assert (answer.status_code, answer.json()) == (200, expected)
    in_drops = (packed(png)[i : i + 1] for i in range(len(packed(png))))
    assert served.client.post("/predict", content=in_drops, headers=headers).json() == expected
    body = json.dumps({"image": pack(png)}).encode()
    answer = served.client.post("/predict", content=packed(body), headers={**headers, **JSON})
    assert answer.json() == expected


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("gzip", b"no gzip at all", "its bytes are not of that form"),
        ("gzip", gzip.compress(b"abc", mtime=0)[:-3], "it ends too early"),
        ("gzip", gzip.compress(b"abc", mtime=0) + b"more", "its bytes are not of that form"),
        ("gzip", b"\x1f", "it ends too early"),
        ("deflate", zlib.compress(b"abc") + b"more", "bytes follow after its end"),
        ("deflate", b"\xff\xff\xff\xff", "its bytes are not of that form"),
    ],
)
def test_body_that_is_not_packed_as_it_says_is_400(
    served: Any, name: str, body: bytes, why: str
) -> None:
    assert refused(served, body, {"Content-Encoding": name}) == (
        f"The body is not packed by {name}, as its Content-Encoding says: {why}. Pack it again, or "
        "send it as it is without that header."
    )


@pytest.mark.parametrize("path", ["/predict", "/look", "/explain", "/review"])
@pytest.mark.parametrize("name", ["br", "zstd", "gzip, gzip", "x" * 300])
def test_packing_that_is_not_understood_is_415_by_name(served: Any, path: str, name: str) -> None:
    headers = {**JSON, "Content-Encoding": name}
    answer = served.client.post(path, content=b"abc", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert answer.json()["detail"] == (
        f"The server does not understand Content-Encoding {name[:99]!r}. Send the body as it is, "
        "or packed once by one of: gzip, deflate."
    )


@pytest.mark.parametrize("pack_", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_small_body_that_unpacks_without_end_is_413(
    narrow: Any, pack_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = pack_(bytes(20_000_000))
    assert len(bomb) < 50_000
    headers = {"Content-Encoding": "gzip" if pack_ is gzip.compress else "deflate"}
    words = "The request is larger than 50.0 KB. Send less at once."
    assert refused(narrow, bomb, headers, 413) == words
    assert refused(narrow, gzip.compress(bytes(10**6)), {**JSON, "Content-Encoding": "gzip"}, 413)
    # What a limit allows may come packed as well as not.
    answer = narrow.client.post("/predict", content=pack_(bytes(50_000)), headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "path", ["/predict/", "/look/", "/explain/", "/health/", "/model/", "/metrics/"]
)
def test_slash_at_the_end_changes_nothing(served: Any, png: bytes, path: str) -> None:
    sent = {"content": png} if path in ("/predict/", "/look/", "/explain/") else {}
    way = served.client.post if sent else served.client.get
    answer = way(path, **sent)
    assert (answer.status_code, answer.history) == (200, [])
    if sent:
        assert answer.json() == way(path.rstrip("/"), **sent).json()
    assert served.client.get("/no/such/").status_code == 404
    assert served.client.post("/review/", headers=JSON).status_code == 422


def ask(served: Any, request: bytes) -> bytes:
    """Send bytes as they are, and return the answer, which ends the connection."""
    with socket.create_connection(("127.0.0.1", served.client.base_url.port)) as connection:
        connection.settimeout(30)
        connection.sendall(request)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                found += chunk
    return found


def test_body_too_large_is_refused_before_it_is_asked_for(narrow: Any) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n"
    length = b"Content-Length: %d\r\nExpect: 100-continue\r\n"
    assert ask(narrow, head % (length % 60_000)).startswith(b"HTTP/1.1 413 ")
    found = ask(narrow, head % (length % 3) + b"abc")
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 422 ")


def test_body_in_chunks_is_taken_whatever_length_is_told(narrow: Any) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"
    body = b"3\r\nabc\r\n0\r\n\r\n"
    assert b"begins with b'abc'" in ask(narrow, head % chunked + body)
    assert ask(narrow, head % (chunked + b"Content-Length: 999\r\n") + body).startswith(
        b"HTTP/1.1 4"
    )
