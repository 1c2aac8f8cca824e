"""``/review``: a verdict that somebody says is wrong, noted for `roi-cls data import`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import TypeAdapter, ValidationError

from roi_cls.commands.serve.answers import Mark
from roi_cls.commands.serve.counters import Counters
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.commands.serve.uploads import read_body
from roi_cls.data.review import Correction, append_correction

MOST_BYTES = 2**16
"""Of a correction: a few lines."""
_MARK = TypeAdapter(Mark)
_JSON = "application/json"
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {_JSON: {"schema": _MARK.json_schema()}}}
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    403: {"description": "Sent by a page of another server"},
    408: {"description": "The request came too slowly"},
    413: {"description": "Too many bytes"},
    415: {"description": "Not JSON"},
    422: {"description": "No correction: no such class, or no SHA-256"},
    507: {"description": "The review cannot be written"},
}


def add_review(
    router: APIRouter, names: Sequence[str], run: str, options: ServerOptions, counters: Counters
) -> None:
    """Let the router answer ``/review`` for a model's classes; ``run`` is the model's name."""

    # Read by hand: FastAPI takes a body of any size, for any time.
    @router.post(
        "/review",
        status_code=204,
        responses=_RESPONSES,
        openapi_extra=_BODY,
        summary="Note that a verdict is wrong, for `roi-cls data import`",
    )
    async def review(request: Request) -> None:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise HTTPException(415, f"A correction is JSON. Send it as {_JSON}.")
        mark = _parse_mark(await read_body(request, MOST_BYTES, options.timeout_s))
        unknown = {mark.label, mark.answer} - set(names)
        if unknown:
            known = ", ".join(names)
            raise HTTPException(
                422, f"There is no class {min(unknown)[:99]!r}. Choose of: {known}."
            )
        try:
            await asyncio.to_thread(_append_mark, options.review, mark, run)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        counters.count_correction()


def _parse_mark(body: bytes) -> Mark:
    try:
        return _MARK.validate_json(body)
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
