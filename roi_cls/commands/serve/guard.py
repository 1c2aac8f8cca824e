"""Around every request: is it meant for this server, and which headers its answer bears.

A page elsewhere must not use a visitor's browser to reach a server on that visitor's machine:
neither by a form that posts here (its ``Origin`` tells), nor by a name of its own that it lets
point here (``Host`` tells; DNS rebinding needs a name, so addresses in numbers are taken). Pages
that are allowed may, and read every answer, refusals and failures too.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roi_cls.commands.serve.counters import Counters
from roi_cls.commands.serve.options import ServerOptions

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",  # verdicts and pictures of people
}
_READING = ("GET", "HEAD")
_FAILURE = "The server failed at this request; its log says why. Try another picture."
_OTHER = "other"  # else anybody could add counters without end


class Guard:
    """An ASGI application around another."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: ServerOptions,
        paths: Collection[str],
        counters: Counters,
    ) -> None:
        """Wrap an application.

        Args:
            app: What answers.
            options: Say by which names the server may be called, and which pages may use it.
            paths: That are counted by their name; all others are counted as one.
            counters: Counts the requests.
        """
        self._app, self._counters, self._paths = app, counters, paths
        self._hosts = frozenset(name.lower() for name in ("localhost", *options.hosts))
        self._origins = frozenset(options.origins)
        self._answer: ASGIApp = self._answer_known
        if self._origins:
            self._answer = CORSMiddleware(
                self._answer_known,
                allow_origins=options.origins,
                allow_methods=(*_READING, "POST"),
                allow_headers=("*",),
                expose_headers=("Retry-After", "Accept-Encoding"),
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 499  # where nothing is sent: whoever asked went away
        if (path := scope["path"].rstrip("/")) in self._paths:
            # A redirect, the usual answer to /predict/, loses the body in many a client.
            scope = {**scope, "path": path, "raw_path": path.encode()}

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope, receive, send_guarded)
        finally:
            path = scope["path"] if scope["path"] in self._paths else _OTHER
            method = scope["method"] if scope["method"] in (*_READING, "POST") else _OTHER
            self._counters.count_request(path, method, status, time.perf_counter() - start)

    async def _answer_known(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is meant for this server; else refuse it."""
        is_begun = False

        async def send_noting(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        refusal = self._refuse(scope["method"], Headers(scope=scope))
        # The answer to HEAD is GET's; uvicorn, which keeps its own scope, leaves out the body.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await (refusal or self._app)(asked, receive, send_noting)
        except Exception:  # reason: whatever it is, the client gets an answer; raised again below
            if not is_begun:
                await JSONResponse({"detail": _FAILURE}, 500)(scope, receive, send)
            raise  # for the server's log

    def _refuse(self, method: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if not self._is_known(host):
            detail = (
                f"This server is not known as {host!r}. Use its address in numbers, or start it "
                "with --allow-host NAME."
            )
            return JSONResponse({"detail": detail}, 421)
        origin = headers.get("origin")
        if method not in _READING and not self._is_allowed(origin, host):
            detail = (
                f"A page of {origin} may not use this server. Open the server's own page, or start "
                f"it with --allow-origin {origin}."
            )
            return JSONResponse({"detail": detail}, 403)
        return None

    def _is_allowed(self, origin: str | None, host: str) -> bool:
        if origin is None or _is_at(origin, host):
            return True
        return "*" in self._origins or origin in self._origins

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # brackets that hold no address
            return False
        return name in self._hosts or _is_address(name)


def _is_at(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # brackets that hold no address
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
