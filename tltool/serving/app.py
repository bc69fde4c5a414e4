"""The web application: addresses, errors in one form, headers, counters."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tltool import __version__
from tltool.serving.api_errors import ApiError
from tltool.serving.page_routes import page_router
from tltool.serving.prometheus import Metrics
from tltool.serving.repository import Repository
from tltool.serving.routes import Routes
from tltool.serving.settings import Settings

_COLLECT = (100_000, 50, 100)  # Python's own numbers triple the time that a long JSON text takes
_GONE = 499  # the client has closed the connection; nobody reads this
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(
    repository: Repository, settings: Settings, metrics: Metrics
) -> tuple[FastAPI, Callable[[], None]]:
    """Return the application, and a function to call when the server begins to stop."""
    routes = Routes(repository, settings.limits, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        repository.start()
        gc.freeze()  # the model stays: collections need not walk through it
        gc.set_threshold(*_COLLECT)
        watching = asyncio.create_task(repository.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await repository.close()

    app = FastAPI(
        title="tltool serve",
        version=__version__,
        description="TensorFlow Serving's REST API, and images to classes.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(page_router())
    app.include_router(routes.router())
    _answer_errors(app)
    app.add_middleware(_Frame, metrics=metrics, routes=routes)

    def drain() -> None:
        routes.draining = True

    return app, drain


def _answer_errors(app: FastAPI) -> None:
    def told(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    async def known(request: Request, error: ApiError) -> Response:
        del request
        return told(error.status, error.message, error.headers)

    async def http(request: Request, error: HTTPException) -> Response:
        path = request.url.path[:200]
        unknown = error.status_code == 404 and path.startswith("/v1/")
        if unknown or (error.status_code == 405 and path.startswith("/v1/models")):
            return told(400, f"Malformed request: {request.method} {path}")
        return told(error.status_code, str(error.detail), dict(error.headers or {}))

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        del request
        first = error.errors()[0]
        return told(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    async def gone(request: Request, error: ClientDisconnect) -> Response:
        del request, error
        return Response(status_code=_GONE)

    async def unexpected(request: Request, error: Exception) -> Response:
        del request, error  # uvicorn logs it; a client learns nothing of the server's inside
        return told(500, "Internal error")

    for kind, answer in (
        (ApiError, known),
        (HTTPException, http),
        (RequestValidationError, invalid),
        (ClientDisconnect, gone),
        (Exception, unexpected),
    ):
        app.add_exception_handler(kind, answer)  # type: ignore[arg-type]


class _Frame:
    """Around every request: headers that bind browsers, and counters."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Routes) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._routes.draining:
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, framed)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
