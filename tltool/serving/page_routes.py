"""The web page: static files of tltool, without resources of other hosts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tltool.serving.repository import Repository

_INDEX = ("index.html", "text/html; charset=utf-8")
_FILES = {
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
_HEAD = b"<head>\n"


@cache
def _content(name: str) -> bytes:
    return (files("tltool.serving") / "page" / name).read_bytes()


def page_router(repository: Repository) -> APIRouter:
    """Return the routes of the page."""
    router = APIRouter(include_in_schema=False)

    async def index(request: Request) -> Response:
        if _wants_json(request.headers.get("accept", "")):
            # what KServe's V1 protocol asks here
            return JSONResponse({"status": "alive", "name": repository.source.name})
        return Response(_page(request.scope.get("root_path", "")), media_type=_INDEX[1])

    router.add_api_route("/", index, methods=["GET", "HEAD"])
    for path, (name, kind) in _FILES.items():
        router.add_api_route(path, _endpoint(name, kind), methods=["GET", "HEAD"])
    return router


def _wants_json(accept: str) -> bool:
    return "application/json" in accept and "text/html" not in accept


def _page(prefix: str) -> bytes:
    """Return the page; its addresses are relative to ``prefix``, if a reverse proxy reports one."""
    content = _content(_INDEX[0])
    if not prefix:
        return content
    return content.replace(_HEAD, _HEAD + f'<base href="{prefix}/">\n'.encode(), 1)


def _endpoint(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    async def endpoint() -> Response:
        return Response(_content(name), media_type=kind)

    return endpoint
