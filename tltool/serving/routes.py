"""TensorFlow Serving's REST API, the classification of images, and what watches a server."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tltool.serving import openapi
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.classify import results
from tltool.serving.heat_map import explaining, picture
from tltool.serving.input_images import (
    examined,
    explained,
    too_many_pixels,
    uploaded,
    within_pixels,
)
from tltool.serving.prometheus import CONTENT_TYPE, Metrics
from tltool.serving.repository import Repository, Serving
from tltool.serving.request_body import Bodies
from tltool.serving.requests import Question, read_question
from tltool.serving.responses import write_answer
from tltool.serving.served_model import IMAGE_INPUT, images_array
from tltool.serving.settings import Limits

_LONG_TEXT = 2**20  # bytes
_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 18  # of a version that fits into 64 bits


class Routes:
    """The answers to all addresses but the page's.

    Args:
        repository: the model.
        limits: of requests.
        metrics: that count.
    """

    def __init__(self, repository: Repository, limits: Limits, metrics: Metrics) -> None:
        self._repository = repository
        self._limits = limits
        self._metrics = metrics
        self._bodies = Bodies(limits)
        self._long_texts = asyncio.Semaphore(1)
        self.draining = False

    def router(self) -> APIRouter:
        """Return the addresses with their documentation."""
        router = APIRouter()
        model, version = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
        get, post = router.get, router.post
        errors = openapi.ERRORS
        get("/v1/models", **openapi.MODELS)(self.models)
        post(f"{model}:predict", responses=errors, **openapi.PREDICT)(self.predict)
        post(f"{version}:predict", responses=errors, **openapi.PREDICT)(self.predict_version)
        get(f"{model}/metadata", responses=errors, **openapi.METADATA)(self.metadata)
        get(f"{version}/metadata", responses=errors, **openapi.METADATA)(self.metadata_version)
        get(model, responses=errors, **openapi.STATUS)(self.status)
        get(version, responses=errors, **openapi.STATUS)(self.status_version)
        post("/v1/classify", responses=errors, **openapi.CLASSIFY)(self.classify)
        post("/v1/explain", **openapi.EXPLAIN)(self.explain)
        get("/healthz", **openapi.HEALTH)(self.healthz)
        get("/readyz", **openapi.READY)(self.readyz)
        for path, asked in (("/healthz", self.healthz), ("/readyz", self.readyz)):
            router.head(path, include_in_schema=False)(asked)  # as some load balancers ask
        get("/metrics", **openapi.METRICS)(self.counted)
        return router

    async def models(self) -> JSONResponse:
        """Tell what is served."""
        name = self._repository.source.name
        current = self._repository.current.model
        served = {
            "name": name,
            "version": str(current.version),
            "signatures": sorted(current.signatures),
            "class_names": list(current.class_names),
            "takes_images": current.takes_images is not None,
            "explains": current.explains is not None,
            "model_version_status": self._repository.states(name),
        }
        return JSONResponse({"models": [served]})

    async def status(self, name: str) -> JSONResponse:
        """Tell the state of all versions of a model."""
        return self._status(name, None)

    async def status_version(self, name: str, version: str) -> JSONResponse:
        """Tell the state of one version of a model."""
        return self._status(name, _number(version))

    def _status(self, name: str, version: int | None) -> JSONResponse:
        if ":" in name:  # GET of something that takes POST, such as :predict
            raise HTTPException(404)
        states = self._repository.states(name, version)
        return JSONResponse({"model_version_status": states})

    async def metadata(self, name: str) -> JSONResponse:
        """Tell what a model takes and gives."""
        return self._metadata(name, None)

    async def metadata_version(self, name: str, version: str) -> JSONResponse:
        """Tell what one version of a model takes and gives."""
        return self._metadata(name, _number(version))

    def _metadata(self, name: str, version: int | None) -> JSONResponse:
        model = self._repository.named(name, version).model
        signatures = {key: one.to_json() for key, one in model.signatures.items()}
        spec = {"name": name, "signature_name": "", "version": str(model.version)}
        nested = {"signature_def": {"signature_def": signatures}}
        return JSONResponse({"model_spec": spec, "metadata": nested})

    async def predict(self, name: str, request: Request) -> Response:
        """Ask a signature of the newest version."""
        return await self._predict(self._repository.named(name), request)

    async def predict_version(self, name: str, version: str, request: Request) -> Response:
        """Ask a signature of one version."""
        return await self._predict(self._repository.named(name, _number(version)), request)

    async def _predict(self, serving: Serving, request: Request) -> Response:
        with serving.batcher.used():
            async with self._bodies.of(request) as body:
                async with self._turn(body):
                    question = await asyncio.to_thread(self._understood, body, serving)
                outputs = await serving.batcher.ask(question)
            self._count(outputs.get("ok"))
            content = await asyncio.to_thread(write_answer, outputs, question)
        return Response(content, media_type="application/json")

    def _turn(self, body: bytes) -> AbstractAsyncContextManager[Any]:
        """Let long texts be parsed one after another: parsed, they take many times their size."""
        return self._long_texts if len(body) > _LONG_TEXT else nullcontext()

    def _understood(self, body: bytes, serving: Serving) -> Question:
        question = read_question(body, serving.model.signatures)
        within_pixels(question.inputs, question.signature, self._limits)
        return question

    async def classify(self, request: Request, top: int = Query(5, ge=1, le=1000)) -> JSONResponse:
        """Name what is on images."""
        serving = self._repository.current
        signature = serving.model.takes_images
        if signature is None:
            raise ApiError(501, "This model has no signature over the bytes of image files")
        with serving.batcher.used():
            async with self._bodies.of(request) as body:
                files = await uploaded(body, request.headers, self._limits)
                photos = await asyncio.to_thread(
                    lambda: [examined(name, content, self._limits) for name, content in files]
                )
                if len(photos) == 1 and photos[0].too_large:
                    raise too_many_pixels(self._limits)
                array = images_array([photo.content for photo in photos])
                question = Question(signature, {IMAGE_INPUT: array}, len(photos), by_row=False)
                outputs = await serving.batcher.ask(question)
        self._count(outputs.get("ok"))
        found = results(serving.model, photos, outputs, top=top)
        about = {"model": serving.model.name, "version": str(serving.model.version)}
        return JSONResponse({**about, "results": found})

    async def explain(
        self,
        request: Request,
        class_name: str | None = Query(None, alias="class", description=openapi.CLASS),
    ) -> Response:
        """Show where an image speaks for a class."""
        serving = self._repository.current
        ask, spec = explaining(serving.model, class_name)
        with serving.batcher.used():
            async with self._bodies.of(request) as body:
                (name, content), *others = await uploaded(body, request.headers, self._limits)
                if others:
                    raise bad_request("One image at a time")
                photo = await asyncio.to_thread(examined, name, content, self._limits)
                if photo.too_large:
                    raise too_many_pixels(self._limits)
                outputs = await serving.batcher.ask(ask(photo.content))
                problem = explained(photo, bool(outputs["ok"][0]))
                if problem is not None:
                    raise bad_request(f"This is no image to explain: {problem}")
                drawn = await asyncio.to_thread(picture, photo.content, outputs["heatmap"][0], spec)
        return Response(drawn, media_type="image/png")

    def _count(self, ok: Any) -> None:
        if ok is not None:
            good = int(ok.sum())
            self._metrics.items.labels("true").inc(good)
            self._metrics.items.labels("false").inc(len(ok) - good)

    async def healthz(self) -> JSONResponse:
        """Tell that the process lives."""
        return JSONResponse({"status": "ok"})

    async def readyz(self) -> JSONResponse:
        """Tell whether requests should be sent here."""
        if self.draining:
            raise ApiError(503, "The server is stopping")
        version = self._repository.current.model.version
        return JSONResponse({"status": "ready", "version": str(version)})

    async def counted(self) -> Response:
        """Return the counters in Prometheus' form."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


def _number(version: str) -> int:
    if not _DIGITS.fullmatch(version):
        raise HTTPException(404)  # not an address at all
    if len(version) > _MOST_DIGITS:
        raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return int(version)
