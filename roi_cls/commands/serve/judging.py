"""``/predict`` and ``/look``: pictures in, rows out, as ``roi-cls predict --json`` has them.

The pictures are kept where that is asked. And ``/review``: a verdict that somebody says is wrong,
noted for `roi-cls data import`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from roi_cls.base.atomic import write_atomically
from roi_cls.base.rows import to_json
from roi_cls.classifier.inference.prediction import Looked, Prediction, Source
from roi_cls.commands.serve.answers import CropSeen, Look, Mark, RefusalDetail, to_png, to_text
from roi_cls.commands.serve.batcher import Batcher
from roi_cls.commands.serve.bodies import Held, media_type, read_body
from roi_cls.commands.serve.counters import Counters
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.commands.serve.uploads import JSON, Upload, Uploads, accepted, read_uploads
from roi_cls.data.review import Correction, append_correction
from roi_cls.data.sample import name_some
from roi_cls.roi.image_header import sniff_kind

MOST_CROPS_SENT = 16
"""Crops of one picture that are sent back."""
Name = Annotated[str, Query(description="What a picture in the body is called")]


def refusals(texts: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of the answers that refuse a request with a body.

    texts: by status; of further ones, or in place of what is said of all such requests.
    """
    found = {
        400: "The body is not what its headers say",
        403: "Sent by a page of another server, without `--allow-origin`",
        408: "The request came too slowly",
        413: "Too many bytes",
        415: "Packed by what the server does not understand; Accept-Encoding names what it does",
        **texts,
    }
    return {status: describe_refusal(text) for status, text in sorted(found.items())}


def describe_refusal(text: str) -> dict[str, Any]:
    """Return what OpenAPI says of one answer that refuses a request."""
    return {"model": RefusalDetail, "description": text}


OF_PICTURES = {
    400: "No picture in the request, or the body is not what its headers say",
    413: "Too many bytes or pictures",
    503: "Busy, or it took too long; Retry-After says when to come again",
}
"""Of requests with pictures."""
_JUDGED = {**OF_PICTURES, 507: "It was to be kept, and there is no room"}
_NOTED = {
    415: "Not JSON, or packed by what the server does not understand",
    422: "No correction: no such class, or no SHA-256",
    507: "The review cannot be written",
}
MOST_MARK_BYTES = 2**16
"""Of a correction: a few lines."""
_MARK = TypeAdapter(Mark)
_Rows = Prediction | list[Prediction]


@dataclass(frozen=True, slots=True, eq=False)
class JudgingDesk:
    """Takes requests with pictures to the judges."""

    batcher: Batcher
    options: ServerOptions
    counters: Counters
    held: Held = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", Held(self.options.most_held_bytes))

    async def judge(self, request: Request) -> tuple[Uploads, list[Looked]]:
        """Return the pictures of a request and what is seen in each.

        Raises:
            HTTPException: The request is refused; see ``read_uploads`` and ``Batcher.judge``.
            StorageError: Pictures are to be kept, and this one cannot be.
        """
        self.batcher.check_room()  # before a body is read for nothing
        with self.held.room() as room:
            uploads = await read_uploads(request, self.options, room)
            pictures = uploads.pictures
            found = await self.batcher.judge([Source(one.name, one.data) for one in pictures])
            for upload, looked in zip(pictures, found, strict=True):
                prediction = looked.prediction
                self.counters.count_picture(prediction.status, prediction.label)
                if self.options.keep and prediction.status != "error":
                    await asyncio.to_thread(_keep_picture, self.options.keep, upload.data)
            return uploads, found


def _keep_picture(folder: Path, data: bytes) -> Path:
    """Keep a picture that was read, under a name of its content: nobody else chooses one.

    Raises:
        StorageError: It cannot be written.
    """
    path = folder / f"{hashlib.sha256(data).hexdigest()}.{sniff_kind(data).lower()}"
    if not path.exists():
        write_atomically(path, data)
    return path


def add_predict(router: APIRouter, desk: JudgingDesk) -> None:
    """Let the router answer ``/predict``."""

    @router.post(
        "/predict",
        response_model=_Rows,
        responses={
            **refusals(_JUDGED),
            422: {"model": _Rows, "description": "The one picture sent cannot be read"},
        },
        openapi_extra=accepted(desk.options, many=True),
        summary="Judge pictures as `roi-cls predict --json` does",
        description="The body is one picture, or JSON with its base64 as `image`, which gives an "
        "object; or a form with files, or JSON with several `images`, which gives a list in their "
        "order. What cannot be read is a row with status `error`; where nothing else was sent, "
        "the answer's status is 422.",
    )
    async def predict(request: Request, name: Name = "-") -> Response:
        uploads, found = await desk.judge(request)
        rows = [looked.prediction.to_dict() for looked in found]
        is_broken = len(rows) == 1 and rows[0]["status"] == "error"
        text = to_json(rows if uploads.is_list else rows[0])
        return Response(text, 422 if is_broken else 200, media_type="application/json")


def add_look(router: APIRouter, desk: JudgingDesk) -> None:
    """Let the router answer ``/look``."""

    @router.post(
        "/look",
        responses=refusals({**_JUDGED, 422: "The query is not what is asked for"}),
        openapi_extra=accepted(desk.options, many=False),
        summary="Judge one picture, and show the crops that were looked at",
        description="What the page asks. That a picture cannot be read is an answer, too.",
    )
    async def look(request: Request, name: Name = "-") -> Look:
        uploads, found = await desk.judge(request)
        return await asyncio.to_thread(_to_look, uploads.only, found[0])


def _to_look(upload: Upload, looked: Looked) -> Look:
    views = looked.views or ()
    size = views[0].detection if views else None
    crops = [
        CropSeen(i, to_text(to_png(pixels)), cut.region.xyxy, cut.angle, cut.face is not None)
        for i, view in enumerate(views)
        for cut, pixels in zip(view.plan.cuts, view.pixels, strict=True)
    ]
    digest = hashlib.sha256(upload.data).hexdigest()
    shown = tuple(crops[:MOST_CROPS_SENT])
    width, height = (size.width, size.height) if size else (None, None)
    return Look(looked.prediction, digest, width, height, shown)


def add_review(
    router: APIRouter, names: Sequence[str], run: str, options: ServerOptions, counters: Counters
) -> None:
    """Let the router answer ``/review`` for a model's classes; ``run`` is the model's name."""

    # Read by hand: FastAPI takes a body of any size, for any time.
    @router.post(
        "/review",
        status_code=204,
        responses=refusals(_NOTED),
        openapi_extra=_mark_body(names),
        summary="Note that a verdict is wrong, for `roi-cls data import`",
    )
    async def review(request: Request) -> None:
        if media_type(request) != JSON:
            raise HTTPException(415, f"A correction is JSON. Send it as {JSON}.")
        mark = _parse_mark(await read_body(request, MOST_MARK_BYTES, options.timeout_s))
        unknown = {mark.label, mark.answer} - set(names)
        if unknown:
            raise HTTPException(
                422, f"There is no class {min(unknown)[:99]!r}. Choose of: {name_some(names)}."
            )
        try:
            await asyncio.to_thread(_append_mark, options.review, mark, run)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        counters.count_correction()


def _mark_body(names: Sequence[str]) -> dict[str, Any]:
    """Return what OpenAPI says of a correction: what ``Correction`` takes, of these classes."""
    schema = _MARK.json_schema()
    fields = schema["properties"]
    fields["sha256"]["pattern"] = "^[0-9a-f]{64}$"
    fields["probability"] |= {"minimum": 0, "maximum": 1}
    for field_name in ("answer", "label"):
        fields[field_name]["enum"] = [*names]
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def _parse_mark(body: bytes) -> Mark:
    try:
        return _MARK.validate_json(body, strict=True)
    except ValidationError as error:
        # In words alone: what was sent need not be what JSON can say back.
        faults = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        told = "; ".join(f"{place}: {fault}" if place else fault for place, fault in faults)
        raise HTTPException(422, f"That is no correction: {told}.") from error


def _append_mark(path: Path, mark: Mark, run: str) -> None:
    """Add a corrected verdict to the review.

    Raises:
        StorageError: The review cannot be written.
        ValueError: The verdict names no picture.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    correction = Correction(
        mark.name, mark.sha256, mark.answer, mark.label, mark.probability, run, time
    )
    append_correction(path, correction)
