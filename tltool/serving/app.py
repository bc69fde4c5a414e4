"""The web application: routes, error responses, security headers and metrics."""

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
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tltool import __version__
from tltool.serving.after_answers import AfterAnswers
from tltool.serving.api_errors import ApiError
from tltool.serving.forwarded import ForwardedAddress, route_path
from tltool.serving.inference_routes import InferenceRoutes
from tltool.serving.open_inference import HEADER_LENGTH
from tltool.serving.page_routes import page_router
from tltool.serving.platform_routes import CloudRoutes
from tltool.serving.predictor import Predictor
from tltool.serving.prometheus import Metrics
from tltool.serving.repository import Repository
from tltool.serving.request_guard import RequestGuard, TokenCheck
from tltool.serving.routes import Routes
from tltool.serving.served_version import VERSION_HEADER
from tltool.serving.settings import Settings

# with Python's default thresholds a long JSON text takes three times as long
_GC_THRESHOLDS = (100_000, 50, 100)
_CLIENT_CLOSED = 499  # the client has closed the connection and does not read this
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def make_app(
    repository: Repository,
    settings: Settings,
    metrics: Metrics,
    after: AfterAnswers | None = None,
) -> tuple[FastAPI, Callable[[], None]]:
    """Return the application, and a function to call when the server starts to stop."""
    after = after or AfterAnswers()
    predictor = Predictor(settings.limits, metrics, after)
    cloud = CloudRoutes(repository, predictor, settings.routes)
    repositories = [repository, *([repository.candidate] if repository.candidate else [])]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        for one in repositories:
            one.start()
        gc.freeze()  # the model stays in memory, so the collector need not visit it
        gc.set_threshold(*_GC_THRESHOLDS)
        watchers = [asyncio.create_task(one.watch()) for one in repositories]
        yield
        for watcher in watchers:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        await after.close()
        for one in repositories:
            await one.close()

    app = FastAPI(
        title="tltool serve",
        version=__version__,
        description="TensorFlow Serving's REST API, the Open Inference Protocol, image "
        "classification and heat maps.",
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(cloud.given_routes())
    app.include_router(page_router(repository))
    app.include_router(Routes(repository, predictor, metrics, after).router())
    app.include_router(InferenceRoutes(repository, predictor).router())
    app.include_router(cloud.router())
    _add_error_handlers(app)
    _add_middleware(app, repository, settings, metrics)

    def drain() -> None:
        repository.stopping = True

    return app, drain


def _add_middleware(
    app: FastAPI, repository: Repository, settings: Settings, metrics: Metrics
) -> None:
    """Add what happens to every request; the last one is the first that sees it."""
    if settings.token:
        app.add_middleware(TokenCheck, token=settings.token)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=("Retry-After", HEADER_LENGTH, VERSION_HEADER),
        )
    app.add_middleware(RequestGuard, settings=settings)
    app.add_middleware(_HeadersAndMetrics, metrics=metrics, repository=repository)
    app.add_middleware(ForwardedAddress, path_prefix=settings.path_prefix)


def _add_error_handlers(app: FastAPI) -> None:
    def respond(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    async def api_error(request: Request, error: ApiError) -> Response:
        del request
        return respond(error.status, error.message, error.headers)

    async def http_error(request: Request, error: HTTPException) -> Response:
        path = route_path(request.scope)[:200]
        unknown = error.status_code == 404 and path.startswith("/v1/")
        if unknown or (error.status_code == 405 and path.startswith("/v1/models")):
            return respond(400, f"Malformed request: {request.method} {path}")
        return respond(error.status_code, str(error.detail), dict(error.headers or {}))

    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        del request
        first = error.errors()[0]
        return respond(400, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    async def disconnected(request: Request, error: ClientDisconnect) -> Response:
        del request, error
        return Response(status_code=_CLIENT_CLOSED)

    async def unexpected_error(request: Request, error: Exception) -> Response:
        del request, error  # uvicorn logs it; the client must not see internals of the server
        return respond(500, "Internal error")

    for kind, handler in (
        (ApiError, api_error),
        (HTTPException, http_error),
        (RequestValidationError, validation_error),
        (ClientDisconnect, disconnected),
        (Exception, unexpected_error),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]


class _HeadersAndMetrics:
    """Middleware that adds security headers to every response and counts requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics, repository: Repository) -> None:
        self._app = app
        self._metrics = metrics
        self._repository = repository

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if self._repository.stopping:
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
