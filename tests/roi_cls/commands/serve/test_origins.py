"""Pages elsewhere: those that are allowed may use the server and read its answers, no others."""

import contextlib
import http.server
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest

from roi_cls.classifier.inference.prediction import Looked, Source
from roi_cls.classifier.runs.bundle import load_bundle
from roi_cls.commands.serve.app import ServedModel
from roi_cls.commands.serve.options import ServerOptions, parse_origin

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

FRIEND = "https://friend.example"
ALLOWED = "access-control-allow-origin"


@pytest.fixture(scope="module")
def open_to(
    serving: Any, face_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Serve for the pages of some origins, in a ``with`` block."""
    review = tmp_path_factory.mktemp("open") / "review.csv"
    return lambda *origins: serving(face_run, review, origins=origins)


@pytest.fixture(scope="module")
def friendly(open_to: Callable[..., Any]) -> Iterator[Any]:
    with open_to(f"{FRIEND}/") as found:
        yield found


@pytest.mark.parametrize("path", ["/predict", "/look", "/explain", "/predict/"])
def test_allowed_page_may_post_and_read_answers_and_refusals(
    friendly: Any, pictures: Path, path: str
) -> None:
    png = (pictures / "0.png").read_bytes()
    headers = {"Origin": FRIEND}
    for content, status in ((png, 200), (b"", 400)):
        answer = friendly.client.post(path, content=content, headers=headers)
        assert (answer.status_code, answer.headers[ALLOWED]) == (status, FRIEND)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("GET", "/no/such", {}, 404),
        ("GET", "/predict", {}, 405),
        ("GET", "/health", {"Host": "evil.example"}, 421),
        ("POST", "/predict", {"Content-Encoding": "br"}, 415),
        ("POST", "/explain?png=maybe", {}, 422),
    ],
)
def test_every_refusal_can_be_read_by_an_allowed_page(
    friendly: Any, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = friendly.client.request(method, path, headers={"Origin": FRIEND, **headers})
    assert (answer.status_code, answer.headers[ALLOWED]) == (status, FRIEND)


def test_failure_of_the_server_can_be_read_by_an_allowed_page(
    serving_model: Any, face_run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sources: Sequence[Source]) -> list[Looked]:
        raise RuntimeError("a fault of ours")

    def explain(source: Source, label: str | None) -> Any:
        raise AssertionError("nobody asks for it here")

    model = ServedModel("fake", load_bundle(face_run), [fail], explain, 10**6)
    with (
        caplog.at_level(logging.CRITICAL, "uvicorn.error"),
        serving_model(model, ServerOptions(origins=(FRIEND,))) as served,
    ):
        answer = served.client.post("/predict", content=b"x", headers={"Origin": FRIEND})
    assert (answer.status_code, answer.headers[ALLOWED]) == (500, FRIEND)
    assert answer.headers["x-content-type-options"] == "nosniff"
    words = "The server failed at this request; its log says why. Try another picture."
    assert answer.json() == {"detail": words}


def test_preflight_tells_what_an_allowed_page_may_send(friendly: Any) -> None:
    asked = {"Origin": FRIEND, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type,content-encoding"
    answer = friendly.client.options("/predict", headers=asked)
    assert (answer.status_code, answer.headers[ALLOWED]) == (200, FRIEND)
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type,content-encoding"
    other = friendly.client.options("/predict", headers={**asked, "Origin": "https://evil.example"})
    assert other.status_code == 400
    assert ALLOWED not in other.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "http://friend.example", "null"])
def test_other_pages_may_still_not(friendly: Any, origin: str) -> None:
    answer = friendly.client.post("/predict", content=b"x", headers={"Origin": origin})
    assert answer.status_code == 403
    assert f"start it with --allow-origin {origin}." in answer.json()["detail"]
    assert ALLOWED not in answer.headers
    assert ALLOWED not in friendly.client.get("/health", headers={"Origin": origin}).headers


def test_star_allows_every_page(open_to: Callable[..., Any]) -> None:
    with open_to("*") as served:
        for origin in ("https://any.example", "null"):
            answer = served.client.post("/predict", content=b"x", headers={"Origin": origin})
            assert (answer.status_code, answer.headers[ALLOWED]) == (422, "*")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Faces.Example/", "https://faces.example"),
        ("HTTP://localhost:3000", "http://localhost:3000"),
        ("https://faces.example:443", "https://faces.example"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://faces.example:443", "http://faces.example:443"),
        ("*", "*"),
        ("null", "null"),
    ],
)
def test_origin_is_compared_as_browsers_write_it(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text", ["faces.example", "localhost:3000", "https://a/b", "https://a?b", "https://a:b", ""]
)
def test_what_is_no_origin_is_told(
    command: Callable[..., CompletedProcess[str]], text: str
) -> None:
    done = command("serve", "--allow-origin", text)
    assert done.returncode == 2
    assert f"{text!r} is no origin; write it like https://faces.example" in done.stderr


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers all with an empty page."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, format: str, *words: object) -> None:  # noqa: A002  # reason: as above
        """Print nothing."""


@contextlib.contextmanager
def page_elsewhere() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


ASK = """
const [address, body, done] = arguments;
fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body })
  .then(async (answer) => done([answer.status, await answer.json()]), (error) => done(`${error}`));
"""


def test_browser_lets_the_page_of_an_allowed_origin_use_the_server(
    browser: "Chrome", open_to: Callable[..., Any], served: Any
) -> None:
    words = 'The body holds no picture: it is empty. Send {"image": "<base64>"}'
    with page_elsewhere() as origin, open_to(origin) as friendly:
        browser.get(origin)
        body = '{"image": ""}'
        status, answer = browser.execute_async_script(ASK, f"{friendly.address}/predict/", body)
        assert (status, answer["detail"][: len(words)]) == (400, words)
        refused = browser.execute_async_script(ASK, f"{served.address}/predict", body)
        assert refused == "TypeError: Failed to fetch"
        browser.get("about:blank")
