"""What the server answers: the CLI's rows, or a refusal that says what to do."""

import base64
import csv
import hashlib
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from roi_cls.classifier.inference.prediction import Prediction, Source
from roi_cls.classifier.inference.predictor import open_predictor
from roi_cls.commands.serve.counters import Counters
from roi_cls.commands.serve.judging import add_review
from roi_cls.commands.serve.options import ServerOptions
from tests.helpers.pictures import encode

Command = Callable[..., CompletedProcess[str]]
NO_PICTURE = "it is not a picture (it begins with b'no picture'). Give PNG,"


def read(pictures: Path, number: int) -> bytes:
    return (pictures / f"{number}.png").read_bytes()


def form(pictures: Path, *numbers: int) -> list[tuple[str, tuple[str, bytes]]]:
    paths = [pictures / f"{number}.png" for number in numbers]
    return [("files", (str(path), path.read_bytes())) for path in paths]


def predict_here(
    command: Command, run: Path, pictures: Path, *numbers: int
) -> list[dict[str, Any]]:
    paths = [pictures / f"{number}.png" for number in numbers]
    done = command("predict", *paths, "--run", run, "--json", "--device", "cpu", "--batch", "1")
    rows = json.loads(done.stdout)
    return rows if isinstance(rows, list) else [rows]


def assert_same_rows(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """Every field is equal, probabilities to the last bit; and they come in one order."""
    assert rows == others
    assert [list(row) for row in rows] == [list(other) for other in others]


def test_one_picture_in_the_body_is_answered_as_the_command_line_answers(
    command: Command, served: Any, face_run: Path, pictures: Path
) -> None:
    path = str(pictures / "0.png")
    answer = served.client.post("/predict", content=read(pictures, 0), params={"name": path})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert_same_rows([answer.json()], predict_here(command, face_run, pictures, 0))
    assert answer.json()["source"] == "face"
    assert answer.json()["box"] == [20, 20, 50, 60]


def test_body_without_a_name_is_called_as_standard_input_is(served: Any, pictures: Path) -> None:
    # What curl --data-binary says the body is, though it is not.
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = served.client.post("/predict", content=read(pictures, 8), headers=headers)
    assert answer.status_code == 200
    assert (answer.json()["path"], answer.json()["reason"]) == ("-", "no_face")


def test_form_of_many_is_answered_in_order_and_a_broken_one_is_a_row(
    command: Command, served: Any, face_run: Path, pictures: Path
) -> None:
    numbers = (3, 9, 8, 0, 1)
    answer = served.client.post("/predict", files=form(pictures, *numbers))
    assert answer.status_code == 200
    assert_same_rows(answer.json(), predict_here(command, face_run, pictures, *numbers))
    assert [row["status"] for row in answer.json()] == ["ok", "error", "ok", "ok", "ok"]
    assert NO_PICTURE in answer.json()[1]["error"]


def test_same_answer_alone_and_among_others(served: Any, pictures: Path) -> None:
    together = served.client.post("/predict", files=form(pictures, *range(9))).json()
    for number, row in enumerate(together):
        alone = served.client.post("/predict", files=form(pictures, number)).json()
        assert_same_rows(alone, [row])


@pytest.mark.parametrize("way", ["body", "form"])
def test_broken_picture_alone_is_422_with_its_row(served: Any, pictures: Path, way: str) -> None:
    sent = {"content": read(pictures, 9)} if way == "body" else {"files": form(pictures, 9)}
    answer = served.client.post("/predict", **sent)
    row = answer.json() if way == "body" else answer.json()[0]
    assert answer.status_code == 422
    assert set(row) == {field.name for field in fields(Prediction)}
    assert (row["status"], row["label"]) == ("error", None)
    assert NO_PICTURE in row["error"]


def test_look_shows_the_very_crops_and_where_they_lie(
    served: Any, face_run: Path, pictures: Path
) -> None:
    data = read(pictures, 2)
    seen = served.client.post("/look", content=data, params={"name": "2.png"}).json()
    with open_predictor([face_run], "cpu") as predictor:
        (looked,) = predictor.judge([Source("2.png", data)])
    assert looked.views
    cut = looked.views[0].plan.cuts[0]
    (crop,) = seen["crops"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(crop["png"]))))
    np.testing.assert_array_equal(pixels, looked.views[0].pixels[0])
    assert (tuple(crop["region"]), crop["angle"], crop["is_face"]) == (cut.region.xyxy, 0, True)
    assert (seen["width"], seen["height"]) == (120, 90)
    assert seen["sha256"] == hashlib.sha256(data).hexdigest()
    assert_same_rows([seen["prediction"]], [json.loads(json.dumps(looked.prediction.to_dict()))])


def test_look_at_what_cannot_be_read_says_so(served: Any, pictures: Path) -> None:
    answer = served.client.post("/look", content=read(pictures, 9))
    assert answer.status_code == 200
    assert answer.json()["prediction"]["status"] == "error"
    assert (answer.json()["width"], answer.json()["crops"]) == (None, [])


def test_look_takes_one_picture(served: Any, pictures: Path) -> None:
    answer = served.client.post("/look", files=form(pictures, 0, 1))
    assert answer.status_code == 400
    assert answer.json() == {"detail": "There are 2 pictures in the request. Send one."}


def test_explain_draws_heat_on_the_crop_and_on_the_frame(served: Any, pictures: Path) -> None:
    answer = served.client.post("/explain", content=read(pictures, 0), params={"label": "bright"})
    assert answer.status_code == 200
    found = answer.json()
    assert found["label"] == "bright"
    frame = Image.open(io.BytesIO(base64.b64decode(found["frame_png"])))
    crop = Image.open(io.BytesIO(base64.b64decode(found["heats"][0]["png"])))
    assert (frame.size, crop.size) == ((120, 90), (448, 448))
    plain = np.asarray(Image.open(io.BytesIO(read(pictures, 0))))
    assert (np.asarray(frame) != plain).any()
    alone = served.client.post("/explain?label=bright&png=true", content=read(pictures, 0))
    assert alone.headers["content-type"] == "image/png"
    assert alone.content == base64.b64decode(found["frame_png"])


@pytest.mark.parametrize(
    ("number", "label", "detail"),
    [
        (0, "none", "Cannot explain the class 'none': the model knows bright, dull."),
        (9, None, NO_PICTURE),
    ],
    ids=["unknown class", "no picture"],
)
def test_what_cannot_be_explained_is_422(
    served: Any, pictures: Path, number: int, label: str | None, detail: str
) -> None:
    params = {"label": label} if label else {}
    answer = served.client.post("/explain", content=read(pictures, number), params=params)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


@pytest.fixture(scope="module")
def narrow(serving: Any, face_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that takes little."""
    review = tmp_path_factory.mktemp("narrow") / "review.csv"
    limits = {"max_bytes": 50_000, "max_pixels": 12_000, "max_pictures": 2, "timeout_s": 1.0}
    with serving(face_run, review, **limits) as found:
        yield found


@pytest.mark.parametrize("way", ["told", "not told", "form"])
def test_too_many_bytes_are_413_whether_or_not_their_number_is_told(narrow: Any, way: str) -> None:
    data = bytes(60_000)
    if way == "form":
        answer = narrow.client.post("/predict", files=[("files", ("a.png", data))])
    elif way == "told":
        answer = narrow.client.post("/predict", content=data)
    else:  # a generator is sent in chunks, without Content-Length
        answer = narrow.client.post("/predict", content=iter([data[:100]] * 600))
    assert answer.status_code == 413
    words = "The request is larger than 50.0 KB. Send less at once."
    assert answer.json() == {"detail": words}


def test_endless_body_is_cut_off(narrow: Any) -> None:
    address = ("127.0.0.1", narrow.client.base_url.port)
    with socket.create_connection(address) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1")
        connection.sendall(b"000000000\r\n\r\n" + bytes(100_000))
        connection.settimeout(5)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_too_many_pictures_are_413(narrow: Any, pictures: Path) -> None:
    answer = narrow.client.post("/predict", files=form(pictures, 9, 9, 9))
    words = "The request holds more than 2 pictures. Send them in parts."
    assert (answer.status_code, answer.json()) == (413, {"detail": words})


def test_too_many_pixels_are_a_row_in_error(narrow: Any) -> None:
    answer = narrow.client.post("/predict", content=encode(Image.new("L", (200, 100))))
    assert answer.status_code == 422
    assert "over the limit of 12000" in answer.json()["error"]


def test_request_without_a_picture_is_400(served: Any) -> None:
    answer = served.client.post("/predict", content=b"")
    words = "There is no picture in the request. Send one as the body, or files in a form."
    assert (answer.status_code, answer.json()) == (400, {"detail": words})


def test_request_that_comes_too_slowly_is_408(narrow: Any) -> None:
    address = ("127.0.0.1", narrow.client.base_url.port)
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
        connection.settimeout(10)
        start = time.monotonic()
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert 0.9 < time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:99", 200),
        ("127.0.0.1:99", 200),
        ("192.168.7.7", 200),
        ("[::1]:99", 200),
        ("evil.example", 421),
        ("evil.example:99", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_name_that_is_not_the_servers_is_refused(served: Any, host: str, status: int) -> None:
    for path in ("/", "/health"):
        answer = served.client.get(path, headers={"Host": host})
        assert answer.status_code == status
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    if status == 421:
        assert "start it with --allow-host NAME" in answer.json()["detail"]


def test_further_names_are_allowed(serving: Any, face_run: Path, tmp_path: Path) -> None:
    with serving(face_run, tmp_path / "review.csv", hosts=("Faces.example",)) as found:
        headers = {"Host": "faces.example:8000"}
        assert found.client.get("/health", headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
@pytest.mark.parametrize("path", ["/predict", "/look", "/explain", "/review"])
def test_pages_of_others_may_not_post(served: Any, pictures: Path, path: str, origin: str) -> None:
    answer = served.client.post(path, content=read(pictures, 0), headers={"Origin": origin})
    assert answer.status_code == 403
    words = (
        f"A page of {origin} may not use this server. Open the server's own page, or start it "
        f"with --allow-origin {origin}."
    )
    assert answer.json() == {"detail": words}


def test_own_page_may_post_and_no_other_may_read(served: Any, pictures: Path) -> None:
    headers = {"Origin": served.address}
    answer = served.client.post("/predict", content=read(pictures, 0), headers=headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


def mark(**changes: object) -> dict[str, object]:
    one = {"name": "=a.png", "sha256": "a" * 64, "answer": "dull", "label": "bright"}
    return {**one, "probability": 0.75, **changes}


def test_corrected_verdict_is_added_to_the_review(
    serving: Any, face_run: Path, tmp_path: Path
) -> None:
    review = tmp_path / "new" / "review.csv"
    with serving(face_run, review) as found:
        assert found.client.post("/review", json=mark()).status_code == 204
        assert found.client.post("/review", json=mark(label="dull")).status_code == 204
    header, *rows = csv.reader(io.StringIO(review.read_text(encoding="utf-8"), newline=""))
    assert header == ["name", "sha256", "answer", "label", "probability", "run", "time"]
    assert rows[0][:6] == ["'=a.png", "a" * 64, "dull", "bright", "0.75", "faces"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", rows[0][6])
    assert [row[3] for row in rows] == ["bright", "dull"]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"label": "odd"}, "There is no class 'odd'. Choose of: bright, dull."),
        ({"sha256": "../x"}, "sha256 must be 64 hex digits, got '../x'"),
        ({"probability": 7}, "probability must be between 0 and 1, got 7.0"),
    ],
)
def test_correction_that_says_nothing_is_422(
    served: Any, changes: dict[str, object], detail: str
) -> None:
    answer = served.client.post("/review", json=mark(**changes))
    assert (answer.status_code, answer.json()) == (422, {"detail": detail})


def test_correction_names_a_few_of_very_many_classes(tmp_path: Path) -> None:
    app, router = FastAPI(), APIRouter()
    names = [f"c{i:03}" for i in range(500)]
    add_review(router, names, "many", ServerOptions(review=tmp_path / "r.csv"), Counters())
    app.include_router(router)
    answer = TestClient(app).post("/review", json=mark(answer="c000", label="odd"))
    words = f"There is no class 'odd'. Choose of: {', '.join(names[:10])} and 490 more."
    assert (answer.status_code, answer.json()) == (422, {"detail": words})


def test_review_that_cannot_be_written_is_507(serving: Any, face_run: Path, tmp_path: Path) -> None:
    with serving(face_run, tmp_path) as found:  # a folder
        answer = found.client.post("/review", json=mark())
    assert answer.status_code == 507
    assert f"Cannot write {str(tmp_path)!r}: Is a directory." in answer.json()["detail"]


def test_pictures_are_kept_only_where_asked_for_and_under_no_name_of_theirs(
    serving: Any, face_run: Path, pictures: Path, tmp_path: Path
) -> None:
    data = read(pictures, 0)
    files = [("files", ("../../out.png", data)), ("files", ("x.png", read(pictures, 9)))]
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for keep in (None, folder / "kept"):
        with serving(face_run, folder / "review.csv", keep=keep) as found:
            assert found.client.get("/model").json()["keeps_pictures"] is (keep is not None)
            assert found.client.post("/predict", files=files).status_code == 200
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        digest = hashlib.sha256(data).hexdigest()
        assert written == ([keep / f"{digest}.png"] if keep else [])


def test_health_and_model_tell_what_is_served(served: Any) -> None:
    health = served.client.get("/health").json()
    assert (health["status"], health["model"], health["waiting"]) == ("ok", "faces", 0)
    model = served.client.get("/model").json()
    assert (model["labels"], model["target"]) == (["bright", "dull"], "bright")
    assert model["reasons"]["no_face"] == "no face was found"


def test_metrics_count_requests_pictures_and_batches(
    serving: Any, face_run: Path, pictures: Path, tmp_path: Path
) -> None:
    with serving(face_run, tmp_path / "review.csv") as found:
        found.client.post("/predict", files=form(pictures, 0, 1, 9))
        found.client.post("/predict", content=read(pictures, 9))
        found.client.get("/no/such/page")
        found.client.request("BREW", "/predict")
        answer = found.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    samples = {(s.name, *sorted(s.labels.values())): s.value for f in families for s in f.samples}
    assert samples["roi_cls_requests_total", "/predict", "200", "POST"] == 1
    assert samples["roi_cls_requests_total", "/predict", "422", "POST"] == 1
    assert samples["roi_cls_requests_total", "/predict", "405", "other"] == 1
    assert samples["roi_cls_requests_total", "404", "GET", "other"] == 1
    assert samples["roi_cls_pictures_total", "", "error"] == 2
    assert samples["roi_cls_batch_pictures_sum",] == 4
    assert samples["roi_cls_queue_pictures",] == 0
    assert samples["process_resident_memory_bytes",] > 0


def test_openapi_tells_the_rows_of_the_command_line_and_names_no_other_host(served: Any) -> None:
    answer = served.client.get("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    assert set(schemas["Prediction"]["properties"]) == {field.name for field in fields(Prediction)}
    operation = answer.json()["paths"]["/predict"]["post"]
    kinds = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert kinds[0] == {"$ref": "#/components/schemas/Prediction"}
    kinds = {"image/*", "application/octet-stream", "multipart/form-data", "application/json"}
    assert set(operation["requestBody"]["content"]) == kinds
    assert "413" in operation["responses"]
    assert "http" not in answer.text
    assert served.client.get("/docs").status_code == 404
