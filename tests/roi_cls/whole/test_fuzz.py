"""10,000 mutated pictures: each is decoded or refused in words, never a crash, never a hang.

Alone, and through a server, which answers each with a row and none with a 5xx.
"""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from roi_cls.base.errors import ImageReadError
from roi_cls.classifier.inference.prediction import Prediction, PredictOptions
from roi_cls.commands.serve.app import create_app
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.commands.serve.run import ServeJob, open_model
from roi_cls.data.demo.picture import draw_picture
from roi_cls.roi.image import decode_image
from tests.helpers.pictures import encode

Command = Callable[..., CompletedProcess[str]]
PICTURES = 10_000
MOST_PIXELS = 1_000_000
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
"""Bytes at which signs, lengths and markers change their meaning."""
AT_ONCE = 8
"""Requests to the server."""
FORM_SIZES = (0, 64, 1, 3, 30, 2, 0, 8)
"""Pictures in one request after the other; 0: one, as the body itself."""


def seeds() -> list[bytes]:
    """Return a small picture in each format and mode that is read."""
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (24, 31, 3), dtype=np.uint8))
    deep = Image.fromarray(random.integers(0, 65536, (24, 31), dtype=np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (colour, "PNG", {}),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (colour, "JPEG", {"quality": 80}),
        (colour, "JPEG", {"progressive": True, "exif": turned}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "WEBP", {}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "GIF", {"save_all": True, "append_images": [colour.rotate(90)]}),
        (colour, "BMP", {}),
        (colour, "TIFF", {}),
        (deep, "TIFF", {"compression": "tiff_lzw"}),
    ]
    return [encode(picture, kind, **options) for picture, kind, options in kinds]


def face_seeds() -> list[bytes]:
    """Return drawn people, small, in a few formats."""
    kinds = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
    drawn = [Image.fromarray(draw_picture(0, i, None)).resize((160, 112)) for i in range(5)]
    return [encode(picture, kind) for picture, kind in zip(drawn, kinds, strict=True)]


def mutants(count: int, seed: int, given: list[bytes]) -> Iterator[bytes]:
    """Yield pictures with one to four of the faults that files get in the wild, or by intent."""
    random = np.random.default_rng(seed)
    for i in range(count):
        data = bytearray(given[i % len(given)])
        for _ in range(random.integers(1, 5)):
            mutate(data, given, random)
        yield bytes(data)


def mutate(data: bytearray, given: list[bytes], random: np.random.Generator) -> None:
    """Change the bytes in place; half of the places lie in the header, where most is decided."""
    length = max(1, len(data))
    at = int(random.integers(0, min(64, length) if random.random() < 0.5 else length))
    kind = random.integers(0, 6)
    if kind == 0:
        data[at : at + 1] = bytes([int(random.choice(INTERESTING))])
    elif kind == 1:
        data[at : at + 1] = bytes([int(random.integers(0, 256))])
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at : at + int(random.integers(1, 16))]
    elif kind == 4:
        data[at:at] = random.bytes(int(random.integers(1, 16)))
    else:  # a part of another file, perhaps of another format
        other = given[int(random.integers(0, len(given)))]
        start = int(random.integers(0, len(other)))
        part = other[start : start + int(random.integers(1, 64))]
        data[at : at + len(part)] = part


@pytest.mark.slow
def test_mutated_pictures_are_decoded_or_refused_in_words() -> None:
    decoded = 0
    refusals: list[ImageReadError] = []
    for data in mutants(PICTURES, seed=1, given=seeds()):
        try:
            image = decode_image(data, "mutant", max_pixels=MOST_PIXELS)
        except ImageReadError as error:
            refusals.append(error)
        else:
            assert image.dtype == np.uint8
            assert image.shape[2:] == (3,)
            assert 0 < image.shape[0] * image.shape[1] <= MOST_PIXELS
            decoded += 1
    assert all(str(error).startswith("Cannot read 'mutant': ") for error in refusals)
    assert all(error.reason and error.remedy for error in refusals)
    # Else nothing behind the headers was reached, or nothing was broken.
    assert min(decoded, len(refusals)) > PICTURES / 10


@pytest.mark.slow
def test_mutated_pictures_are_rows_of_the_server_and_none_is_a_5xx(
    tiny_runs: Path, tmp_path: Path
) -> None:
    pictures = mutants(PICTURES, seed=2, given=seeds())
    rows = asyncio.run(send_all(tiny_runs / "tiny", tmp_path, pictures))
    count = Counter(row["status"] for row in rows)
    assert count.total() == PICTURES
    assert min(count["ok"], count["error"]) > PICTURES / 10
    assert count.keys() == {"ok", "error"}


@pytest.mark.slow
def test_mutated_pictures_are_looked_through_by_the_real_detector(
    command: Command, tiny_set: Path, tiny_train_arguments: list[str], tmp_path: Path
) -> None:
    words = [*tiny_train_arguments, "--crop", "face", "--runs", tmp_path, "--run", "faces"]
    done = command("train", tiny_set, *words, "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    pictures = mutants(PICTURES // 10, seed=3, given=face_seeds())
    rows = asyncio.run(send_all(tmp_path / "faces", tmp_path, pictures))
    count = Counter(row["source"] for row in rows)
    assert count.total() == PICTURES // 10
    assert min(count["face"], count["full_frame"], count[None]) > PICTURES / 500


async def send_all(run: Path, folder: Path, pictures: Iterator[bytes]) -> list[dict[str, Any]]:
    """Return the rows that a server gives, several requests being under way at once."""
    settings = ServerOptions(review=folder / "review.csv", queue=1000)
    job = ServeJob([run], PredictOptions(max_pixels=MOST_PIXELS), settings, threads=2, device="cpu")
    with open_model(job) as model:
        app = create_app(model, settings)
        # What the application raises would be raised here, too.
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            sizes = itertools.cycle(FORM_SIZES)
            found: list[dict[str, Any]] = []

            async def send_some() -> None:
                for size in sizes:
                    if not (some := list(itertools.islice(pictures, size or 1))):
                        return
                    found.extend(await send(client, some, is_form=size > 0))

            await asyncio.gather(*(send_some() for _ in range(AT_ONCE)))
            metrics = (await client.get("/metrics")).text
    assert f"roi_cls_batch_pictures_sum {len(found)}.0" in metrics
    return found


async def send(
    client: httpx.AsyncClient, pictures: Sequence[bytes], *, is_form: bool
) -> list[dict[str, Any]]:
    """Return the rows of one request, each being what a row must be."""
    if is_form:
        files = [("files", (f"{i}.png", data)) for i, data in enumerate(pictures)]
        answer = await client.post("/predict", files=files)
        rows: list[dict[str, Any]] = answer.json()
        assert [row["path"] for row in rows] == [name for _, (name, _) in files]
    else:
        answer = await client.post("/predict", content=pictures[0])
        if not pictures[0]:
            assert answer.status_code == 400
            return [{"status": "error", "source": None}]
        rows = [answer.json()]
    is_refused = len(rows) == 1 and rows[0]["status"] == "error"
    assert answer.status_code == (422 if is_refused else 200)
    for row in rows:
        assert_row(row)
    return rows


def assert_row(row: dict[str, Any]) -> None:
    assert list(row) == [field.name for field in fields(Prediction)]
    if row["status"] == "error":
        assert row["error"].startswith(f"Cannot read {row['path']!r}: ")
        assert row["label"] is row["probabilities"] is row["box"] is None
    else:
        assert math.isclose(sum(row["probabilities"].values()), 1)
        assert row["score"] == row["probabilities"][row["label"]]
        assert (row["source"] == "face") == (row["box"] is not None)
