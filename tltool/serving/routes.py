"""The routes: TensorFlow Serving's REST API, image classification, heat maps and monitoring."""

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
from tltool.serving.classify import classify_results
from tltool.serving.heat_map import draw_heat_map, prepare_explain
from tltool.serving.input_images import (
    blank_large_images,
    image_error,
    prepare_image,
    read_uploads,
    too_many_pixels,
)
from tltool.serving.prometheus import CONTENT_TYPE, Metrics
from tltool.serving.repository import Repository, ServedVersion
from tltool.serving.request_body import RequestBodies
from tltool.serving.requests import PredictRequest, parse_predict_request
from tltool.serving.responses import write_predict_response
from tltool.serving.served_model import IMAGE_INPUT, bytes_array
from tltool.serving.settings import Limits

_LARGE_BODY = 2**20  # bytes
_DIGITS = re.compile(r"[0-9]+")
_MAX_DIGITS = 18  # of a version that fits into 64 bits


class Routes:
    """All routes except those of the web page.

    Args:
        repository: of the model versions.
        limits: of requests.
        metrics: counts items.
    """

    def __init__(self, repository: Repository, limits: Limits, metrics: Metrics) -> None:
        self._repository = repository
        self._limits = limits
        self._metrics = metrics
        self._bodies = RequestBodies(limits)
        self._large_bodies = asyncio.Semaphore(1)
        self.draining = False

    def router(self) -> APIRouter:
        """Return the routes with their documentation."""
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
        for path, endpoint in (("/healthz", self.healthz), ("/readyz", self.readyz)):
            router.head(path, include_in_schema=False)(endpoint)  # for some load balancers
        get("/metrics", **openapi.METRICS)(self.metrics)
        return router

    async def models(self) -> JSONResponse:
        """Return the served model: name, version, signatures and classes."""
        name = self._repository.source.name
        model = self._repository.current.model
        document = {
            "name": name,
            "version": str(model.version),
            "signatures": sorted(model.signatures),
            "class_names": list(model.class_names),
            "takes_images": model.image_signature is not None,
            "explains": model.explain_signature is not None,
            "model_version_status": self._repository.states(name),
        }
        return JSONResponse({"models": [document]})

    async def status(self, name: str) -> JSONResponse:
        """Return the status of all versions of a model."""
        return self._status(name, None)

    async def status_version(self, name: str, version: str) -> JSONResponse:
        """Return the status of one version of a model."""
        return self._status(name, _parse_version(version))

    def _status(self, name: str, version: int | None) -> JSONResponse:
        if ":" in name:  # a GET of a POST route, such as :predict
            raise HTTPException(404)
        states = self._repository.states(name, version)
        return JSONResponse({"model_version_status": states})

    async def metadata(self, name: str) -> JSONResponse:
        """Return the inputs and outputs of a model."""
        return self._metadata(name, None)

    async def metadata_version(self, name: str, version: str) -> JSONResponse:
        """Return the inputs and outputs of one version of a model."""
        return self._metadata(name, _parse_version(version))

    def _metadata(self, name: str, version: int | None) -> JSONResponse:
        model = self._repository.get(name, version).model
        signatures = {key: one.to_json() for key, one in model.signatures.items()}
        spec = {"name": name, "signature_name": "", "version": str(model.version)}
        nested = {"signature_def": {"signature_def": signatures}}
        return JSONResponse({"model_spec": spec, "metadata": nested})

    async def predict(self, name: str, request: Request) -> Response:
        """Run a signature of the newest version."""
        return await self._predict(self._repository.get(name), request)

    async def predict_version(self, name: str, version: str, request: Request) -> Response:
        """Run a signature of one version."""
        return await self._predict(self._repository.get(name, _parse_version(version)), request)

    async def _predict(self, served: ServedVersion, request: Request) -> Response:
        with served.batcher.in_use():
            async with self._bodies.read(request) as body:
                async with self._one_large_body(body):
                    parsed = await asyncio.to_thread(self._parse, body, served)
                outputs = await served.batcher.predict(parsed)
            self._count(outputs.get("ok"))
            content = await asyncio.to_thread(write_predict_response, outputs, parsed)
        return Response(content, media_type="application/json")

    def _one_large_body(self, body: bytes) -> AbstractAsyncContextManager[Any]:
        """Parse only one large JSON text at a time: parsed, it takes many times its size."""
        return self._large_bodies if len(body) > _LARGE_BODY else nullcontext()

    def _parse(self, body: bytes, served: ServedVersion) -> PredictRequest:
        parsed = parse_predict_request(body, served.model.signatures)
        blank_large_images(parsed.inputs, parsed.signature, self._limits)
        return parsed

    async def classify(self, request: Request, top: int = Query(5, ge=1, le=1000)) -> JSONResponse:
        """Classify images."""
        served = self._repository.current
        signature = served.model.image_signature
        if signature is None:
            raise ApiError(501, "This model has no signature for the bytes of image files")
        with served.batcher.in_use():
            async with self._bodies.read(request) as body:
                files = await read_uploads(body, request.headers, self._limits)
                images = await asyncio.to_thread(
                    lambda: [prepare_image(name, content, self._limits) for name, content in files]
                )
                if len(images) == 1 and images[0].too_large:
                    raise too_many_pixels(self._limits)
                array = bytes_array([image.content for image in images])
                inputs = {IMAGE_INPUT: array}
                predict_request = PredictRequest(signature, inputs, len(images), by_row=False)
                outputs = await served.batcher.predict(predict_request)
        self._count(outputs.get("ok"))
        results = classify_results(served.model, images, outputs, top=top)
        model = {"model": served.model.name, "version": str(served.model.version)}
        return JSONResponse({**model, "results": results})

    async def explain(
        self,
        request: Request,
        class_name: str | None = Query(None, alias="class", description=openapi.CLASS),
    ) -> Response:
        """Return the image with a heat map of the evidence for a class, as PNG."""
        served = self._repository.current
        make_request, spec = prepare_explain(served.model, class_name)
        with served.batcher.in_use():
            async with self._bodies.read(request) as body:
                (name, content), *others = await read_uploads(body, request.headers, self._limits)
                if others:
                    raise bad_request("Send one image at a time")
                image = await asyncio.to_thread(prepare_image, name, content, self._limits)
                if image.too_large:
                    raise too_many_pixels(self._limits)
                outputs = await served.batcher.predict(make_request(image.content))
                error = image_error(image, ok=bool(outputs["ok"][0]))
                if error is not None:
                    raise bad_request(f"The image cannot be explained: {error}")
                heat_map = outputs["heatmap"][0]
                png = await asyncio.to_thread(draw_heat_map, image.content, heat_map, spec)
        return Response(png, media_type="image/png")

    def _count(self, ok: Any) -> None:
        if ok is not None:
            decoded = int(ok.sum())
            self._metrics.items.labels("true").inc(decoded)
            self._metrics.items.labels("false").inc(len(ok) - decoded)

    async def healthz(self) -> JSONResponse:
        """Return 200 while the process runs."""
        return JSONResponse({"status": "ok"})

    async def readyz(self) -> JSONResponse:
        """Return 200 if requests may be sent, 503 while the server stops."""
        if self.draining:
            raise ApiError(503, "The server is stopping")
        version = self._repository.current.model.version
        return JSONResponse({"status": "ready", "version": str(version)})

    async def metrics(self) -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


def _parse_version(version: str) -> int:
    if not _DIGITS.fullmatch(version):
        raise HTTPException(404)  # not a valid URL
    if len(version) > _MAX_DIGITS:
        raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return int(version)
