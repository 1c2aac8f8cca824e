"""The HTTP application: which address answers what. Knows no socket and no signal.

Its page is files of the package, read once; nothing comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from roi_cls.base.errors import StorageError
from roi_cls.base.version import __version__
from roi_cls.classifier.runs.bundle import ModelBundle
from roi_cls.commands.serve.answers import Health, ModelFacts
from roi_cls.commands.serve.batcher import Batcher, Judge
from roi_cls.commands.serve.counters import CONTENT_TYPE, Counters
from roi_cls.commands.serve.explaining import Explain, ExplainingDesk, add_explain
from roi_cls.commands.serve.guard import Guard
from roi_cls.commands.serve.judging import (
    JudgingDesk,
    add_look,
    add_predict,
    add_review,
    describe_refusal,
)
from roi_cls.commands.serve.options import ServerOptions
from roi_cls.roi import REASON_TEXT

_PAGE_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """What a server answers with."""

    name: str
    bundle: ModelBundle
    judges: Sequence[Judge]
    """Each is called from one thread at a time; together they work at once."""
    explain: Explain
    max_pixels: int
    runtime: str = "torch"
    """What computes: ``onnx`` or ``torch``."""
    engine: str = "torch"
    """The same in words, with the device."""


def create_app(model: ServedModel, options: ServerOptions) -> FastAPI:
    """Return the application; its judges work from its start to its end."""
    counters = Counters()
    batcher = Batcher(model.judges, options, counters.count_batch)
    desk = ExplainingDesk(model.explain, options, model.max_pixels)
    counters.watch_queue(lambda: batcher.accepted)

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()
        desk.close()

    # No docs_url: the usual pages load their scripts from elsewhere.
    app = FastAPI(
        title="roi-cls",
        version=__version__,
        lifespan=live,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={421: describe_refusal("The server is not known by the name in Host")},
    )
    router = APIRouter()
    judging = JudgingDesk(batcher, options, counters)
    add_predict(router, judging)
    add_look(router, judging)
    add_explain(router, desk, options, model.bundle.labels.names)
    add_review(router, model.bundle.labels.names, model.name, options, counters)
    _add_facts(router, model, options, batcher)
    _add_metrics(router, counters)
    app.include_router(router)
    app.include_router(_make_page_router())
    paths = {"/", "/openapi.json", *app.openapi()["paths"]}
    app.add_middleware(Guard, options=options, paths=paths, counters=counters)
    app.add_exception_handler(RequestValidationError, _tell_wrong_query)
    app.add_exception_handler(StorageError, _tell_full_disk)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    return app


def _add_facts(
    router: APIRouter, model: ServedModel, options: ServerOptions, batcher: Batcher
) -> None:
    bundle = model.bundle
    facts = ModelFacts(
        name=model.name,
        version=__version__,
        labels=bundle.labels.names,
        target=bundle.labels.target,
        threshold=bundle.threshold,
        abstain=bundle.abstain,
        reasons={str(reason): text for reason, text in REASON_TEXT.items()},
        max_bytes=options.max_bytes,
        max_pixels=model.max_pixels,
        max_pictures=options.max_pictures,
        keeps_pictures=options.keep is not None,
        runtime=model.runtime,
    )

    @router.get("/health", summary="Tell that the server answers")
    async def health() -> Health:
        return Health("ok", model.name, __version__, batcher.accepted)

    @router.get("/model", summary="Tell the model's classes and the server's limits")
    async def tell_model() -> ModelFacts:
        return facts


def _add_metrics(router: APIRouter, counters: Counters) -> None:
    @router.get("/metrics", response_class=Response, summary="Counters for Prometheus")
    async def tell_metrics() -> Response:
        return Response(counters.text(), headers={"Content-Type": CONTENT_TYPE})


def _make_page_router() -> APIRouter:
    """Return what answers ``/`` with the page and ``/page/NAME`` with its parts."""
    folder = files("roi_cls.commands.serve") / "page"
    parts = {
        file.name: (file.read_bytes(), _PAGE_TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _PAGE_TYPES
    }
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return _answer_part(*parts[_INDEX])

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        if name not in parts:
            raise HTTPException(404, f"The page has no part {name!r}. Open / instead.")
        return _answer_part(*parts[name])

    return router


def _answer_part(data: bytes, media_type: str) -> Response:
    return Response(data, media_type=media_type, headers={"Cache-Control": "no-cache"})


async def _tell_full_disk(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 507)


async def _tell_nobody(request: Request, error: Exception) -> Response:
    """Answer whoever went away while sending; the number, nginx's, is for the counters."""
    return Response(status_code=499)


async def _tell_wrong_query(request: Request, error: Exception) -> Response:
    """Answer a query that is not what is asked for in words, as all refusals are."""
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    told = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in faults)
    return JSONResponse({"detail": f"The query is not what is asked for: {told}."}, 422)
