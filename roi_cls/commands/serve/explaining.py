"""``/explain``: heat maps on request, one after the other in a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response

from roi_cls.base.errors import RoiClsError
from roi_cls.classifier.inference.prediction import Source
from roi_cls.commands.serve.answers import Explained, HeatSeen, to_png, to_text
from roi_cls.commands.serve.bodies import Held, busy
from roi_cls.commands.serve.judging import OF_PICTURES, Name, refusals
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.commands.serve.uploads import accepted, read_uploads
from roi_cls.roi.image import Image
from roi_cls.roi.picture import Picture

if TYPE_CHECKING:
    from roi_cls.classifier.explanation.explain import (
        Explanation,  # needs torch, an exported model does not
    )

MOST_PX = 1024
"""Longer side of a frame that is sent back."""
CROP_PX = 448
"""Side of a crop with its heat: enlarged, so that its lines are fine."""
_MOST_WAITING = 8

Explain = Callable[[Source, str | None], "Explanation"]
"""Explains one class of a picture; None: the one that the model's users ask about."""


class ExplainingDesk:
    """Takes pictures to explain. Used from one event loop."""

    def __init__(self, explain: Explain, options: ServerOptions, max_pixels: int) -> None:
        """Start nothing yet.

        Args:
            explain: Called in one thread, for one picture at a time.
            options: How long a request may take.
            max_pixels: Larger pictures are refused.
        """
        self._explain, self._options, self._max_pixels = explain, options, max_pixels
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._waiting = 0

    def close(self) -> None:
        """Finish what is begun."""
        self._thread.shutdown()

    def check_room(self) -> None:
        """Raise a 503 where too many wait."""
        if self._waiting >= _MOST_WAITING:
            raise busy(f"{self._waiting} pictures wait to be explained. Try again soon.")

    async def explain(self, source: Source, label: str | None) -> tuple[Explained, bytes]:
        """Return the answer, and the frame with its heat as a PNG; empty where there is none.

        Raises:
            HTTPException: 503, too many wait or it takes too long.
            RoiClsError: There is nothing to explain.
        """
        self.check_room()
        self._waiting += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._work, source, label)
        work.add_done_callback(self._leave)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await work
        except TimeoutError:
            seconds = self._options.timeout_s
            raise busy(f"There was no heat map within {seconds:g} s. Try again soon.") from None

    def _leave(self, work: object) -> None:
        self._waiting -= 1

    def _work(self, source: Source, label: str | None) -> tuple[Explained, bytes]:
        from roi_cls.drawing.heat import draw_on_crop, draw_on_frame

        explanation = self._explain(source, label)
        prediction = explanation.looked.prediction
        if not explanation.heats:
            return Explained(prediction, explanation.label, "", ()), b""
        picture = Picture(
            source.data or b"",
            source.path,
            max_pixels=self._max_pixels,
            partial=prediction.damaged is not None,
        )
        frame = to_png(_reduce(draw_on_frame(picture.pixels(), explanation.heats)))
        heats = tuple(
            HeatSeen(heat.view, to_text(to_png(draw_on_crop(heat, CROP_PX))))
            for heat in explanation.heats
        )
        return Explained(prediction, explanation.label, to_text(frame), heats), frame


def add_explain(
    router: APIRouter, desk: ExplainingDesk, options: ServerOptions, names: Sequence[str]
) -> None:
    """Let the router answer ``/explain`` for a model's classes."""
    held = Held(options.most_held_bytes)
    unreadable = "The picture cannot be read, or there is no such class"
    asked_label = Query(
        None, description="The class; unset: the target", json_schema_extra={"enum": [*names]}
    )

    @router.post(
        "/explain",
        response_model=Explained,
        responses={
            **refusals({**OF_PICTURES, 422: unreadable}),
            200: {"content": {"image/png": {}}},
        },
        openapi_extra=accepted(options, many=False),
        summary="Show where in one picture the model saw what speaks for a class",
    )
    async def explain(
        request: Request,
        label: str | None = asked_label,
        png: Annotated[bool, Query(description="Answer with the frame's picture alone")] = False,
        name: Name = "-",
    ) -> Explained | Response:
        desk.check_room()
        with held.room() as room:
            uploads = await read_uploads(request, options, room)
            source = Source(uploads.only.name, uploads.only.data)
            try:
                answer, frame = await desk.explain(source, label)
            except (RoiClsError, ValueError) as error:
                raise HTTPException(422, str(error)) from error
        if not answer.heats:
            raise HTTPException(422, answer.prediction.error or "Nothing was looked at in it.")
        return Response(frame, media_type="image/png") if png else answer


def _reduce(frame: Image) -> Image:
    factor = MOST_PX / max(frame.shape[:2])
    if factor >= 1:
        return frame
    small = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
