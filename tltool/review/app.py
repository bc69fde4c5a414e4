"""The web application of a review: its page, its images, and the decisions that it takes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tltool.data.corrections.decision import ACTIONS, Action
from tltool.errors import TltoolError
from tltool.evaluation.report.thumbnails import thumbnail
from tltool.review.middleware import SecurityHeaders, TokenInPath
from tltool.review.model_views import ModelViews
from tltool.review.queues import Queue
from tltool.review.session import ReviewSession
from tltool.serving.request_guard import RequestGuard
from tltool.serving.settings import Settings

_ICON = "favicon.svg"
_PAGE = {
    _ICON: (_ICON, "image/svg+xml"),
    "": ("index.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "grid.js": ("grid.js", "text/javascript; charset=utf-8"),
    "choose_class.js": ("choose_class.js", "text/javascript; charset=utf-8"),
}
_SIDES = {"small": 192, "large": 1280}  # pixels of the images that are sent
_MOST_ENTRIES = 200  # in one response
_MOST_BYTES = 2**20  # of a request


def make_review_app(
    session: ReviewSession, views: ModelViews, *, token: str, settings: Settings
) -> Starlette:
    """Return the application; everything in it lies below ``/token/``.

    Args:
        session: with the images and the decisions.
        views: heat maps and neighbours, if there is a model.
        token: a secret in the address, without which every request is answered with 404.
        settings: with the names of the server.
    """
    routes = _Routes(session, views)
    app = Starlette(routes=[Mount("/{token}", routes=routes.all())])
    app.add_exception_handler(TltoolError, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_middleware(TokenInPath, token=token)
    app.add_middleware(RequestGuard, settings=settings)
    app.add_middleware(SecurityHeaders)
    return app


class _Routes:
    """Answers the requests of the page. Work on files and models is done in threads."""

    def __init__(self, session: ReviewSession, views: ModelViews) -> None:
        self._session, self._views = session, views
        self._queues = {one.name: one for one in session.data.queues}

    def all(self) -> list[Route]:
        page = [Route(f"/{path}", _static(*file)) for path, file in _PAGE.items()]
        return [
            *page,
            Route("/api/review", self.review),
            Route("/api/queue/{queue}", self.queue),
            Route("/api/neighbours/{image:int}", self.neighbours),
            Route("/api/decide", self.decide, methods=["POST"]),
            Route("/image/{image:int}", self.image),
            Route("/heat-map/{image:int}", self.heat_map),
        ]

    def review(self, request: Request) -> Response:
        """Return what is reviewed, and how far each queue has come."""
        del request
        session, data = self._session, self._session.data
        session.refresh()
        queues = [
            {
                "name": one.name,
                "title": one.title,
                "about": one.about,
                "count": len(one.entries),
                "decided": session.decided(one),
                "next": session.first_open(one),
            }
            for one in data.queues
        ]
        return JSONResponse(
            {
                "title": data.title,
                "who": session.who,
                "file": session.path.name,
                "classes": data.class_names,
                "queues": queues,
                "explains": self._views.explains,
                "finds_neighbours": self._views.finds_neighbours,
            }
        )

    def queue(self, request: Request) -> Response:
        """Return some entries of a queue, with the decisions about them."""
        queue = self._queues.get(request.path_params["queue"])
        if queue is None:
            raise HTTPException(404)
        start = _number(request, "start", 0)
        count = min(_number(request, "count", 60), _MOST_ENTRIES)
        self._session.refresh()
        return JSONResponse({"start": start, "entries": self._entries(queue, start, count)})

    def _entries(self, queue: Queue, start: int, count: int) -> list[dict[str, Any]]:
        images = self._session.data.images
        return [
            {
                "id": one.image,
                "file": images[one.image].file,
                "label": images[one.image].label,
                "split": images[one.image].split,
                "suggested": one.suggested,
                "reason": one.reason,
                "decision": self._session.decision_of(images[one.image]),
            }
            for one in queue.entries[start : start + count]
        ]

    def image(self, request: Request) -> Response:
        """Return an image as a JPEG of a size for the screen."""
        side = _SIDES.get(request.query_params.get("size", "large"), _SIDES["large"])
        picture = thumbnail(self._image(request).path, side)
        if picture is None:
            raise HTTPException(404)
        output = io.BytesIO()
        picture.save(output, "JPEG", quality=88)
        # preloaded images are shown from the cache; the token differs for every review
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(output.getvalue(), media_type="image/jpeg", headers=headers)

    def heat_map(self, request: Request) -> Response:
        """Return an image with the evidence for a class."""
        label = request.query_params.get("class") or None
        picture = self._views.heat_map(self._image(request).path, label)
        return Response(picture, media_type="image/png")

    def neighbours(self, request: Request) -> Response:
        """Return the nearest images of the label and of the suggested class."""
        number = int(request.path_params["image"])
        classes = dict.fromkeys([self._image(request).label, request.query_params.get("class", "")])
        found = self._views.neighbours(number, [one for one in classes if one])
        rows = [
            {
                "class": name,
                "images": [
                    {"id": one, "file": self._session.data.images[one].file} for one in nearest
                ],
            }
            for name, nearest in found.items()
        ]
        return JSONResponse({"neighbours": rows})

    async def decide(self, request: Request) -> Response:
        """Record a decision about one or more images."""
        body = await _json(request)
        action, label = body.get("action"), body.get("label", "")
        why, images = body.get("why", ""), body.get("images")
        count = len(self._session.data.images)
        if (
            action not in ACTIONS
            or not isinstance(label, str)
            or not isinstance(why, str)
            or not isinstance(images, list)
            or not all(type(one) is int and 0 <= one < count for one in images)
        ):
            raise HTTPException(400)
        await run_in_threadpool(self._session.decide, images, cast(Action, action), label, why)
        all_images = self._session.data.images
        changed = self._session.with_copies(images)
        made = {str(one): self._session.decision_of(all_images[one]) for one in changed}
        return JSONResponse({"decisions": made})

    def _image(self, request: Request) -> Any:
        number = int(request.path_params["image"])
        if number >= len(self._session.data.images):
            raise HTTPException(404)
        return self._session.data.images[number]


@cache
def _content(name: str) -> bytes:
    package = "tltool.serving" if name == _ICON else "tltool.review"
    return (files(package) / "page" / name).read_bytes()


def _static(name: str, kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        del request
        return Response(_content(name), media_type=kind, headers={"Cache-Control": "no-store"})

    return endpoint


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400)
    return int(text)


async def _json(request: Request) -> dict[str, Any]:
    """Return the body; another site cannot send this content type without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise HTTPException(413)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None
    if not isinstance(document, dict):
        raise HTTPException(400)
    return document


def _refused(request: Request, error: Exception) -> Response:
    del request
    message = error.message if isinstance(error, TltoolError) else "Internal error"
    return JSONResponse({"error": message}, 409)


def _not_found(request: Request, error: Exception) -> Response:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "Internal error"
    return JSONResponse({"error": detail}, status)
