"""The page that a server shows: files of the package, read once. Nothing comes from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
INDEX = "index.html"


def make_page_router() -> APIRouter:
    """Return what answers ``/`` with the page and ``/page/NAME`` with its parts."""
    folder = files("roi_cls") / "page"
    parts = {
        file.name: (file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return _answer(*parts[INDEX])

    @router.get("/page/{name}")
    async def part(name: str) -> Response:
        if name not in parts:
            raise HTTPException(404, f"The page has no part {name!r}. Open / instead.")
        return _answer(*parts[name])

    return router


def _answer(data: bytes, media_type: str) -> Response:
    return Response(data, media_type=media_type, headers={"Cache-Control": "no-cache"})
