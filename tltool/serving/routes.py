"""The routes: TensorFlow Serving's REST API, image classification, heat maps and monitoring."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tltool.serving import openapi
from tltool.serving.after_answers import AfterAnswers
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.classify import classify_results
from tltool.serving.heat_map import draw_heat_map, prepare_explain
from tltool.serving.input_images import image_error
from tltool.serving.predictor import Predictor
from tltool.serving.prometheus import CONTENT_TYPE, Metrics
from tltool.serving.repository import Repository
from tltool.serving.requests import PredictRequest, parse_predict_request
from tltool.serving.responses import write_predict_response
from tltool.serving.served_version import ServedVersion

_DIGITS = re.compile(r"[0-9]+")
_MAX_DIGITS = 18  # of a version that fits into 64 bits


class Routes:
    """All routes except those of the web page.

    Args:
        repository: of the model versions.
        predictor: runs requests.
        metrics: of the server.
        after: what happens with every answer; None for statistics only.
    """

    def __init__(
        self,
        repository: Repository,
        predictor: Predictor,
        metrics: Metrics,
        after: AfterAnswers | None = None,
    ) -> None:
        self._after = after or AfterAnswers()
        self._repository = repository
        self._predictor = predictor
        self._metrics = metrics

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
        get("/v1/statistics", **openapi.STATISTICS)(self.statistics)
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
        return self._status(name, parse_version(version))

    def _status(self, name: str, version: int | None) -> JSONResponse:
        if ":" in name:  # a GET of a POST route, such as :predict
            raise HTTPException(404)
        document: dict[str, Any] = {}
        states = self._repository.states(name, version)
        if version is None:  # KServe's V1 protocol asks here whether the model is ready
            document = {"name": name, "ready": self._repository.is_ready}
        return JSONResponse({**document, "model_version_status": states})

    async def metadata(self, name: str) -> JSONResponse:
        """Return the inputs and outputs of a model."""
        return self._metadata(name, None)

    async def metadata_version(self, name: str, version: str) -> JSONResponse:
        """Return the inputs and outputs of one version of a model."""
        return self._metadata(name, parse_version(version))

    def _metadata(self, name: str, version: int | None) -> JSONResponse:
        model = self._repository.get(name, version).model
        signatures = {key: one.to_json() for key, one in model.signatures.items()}
        spec = {"name": name, "signature_name": "", "version": str(model.version)}
        nested = {"signature_def": {"signature_def": signatures}}
        return JSONResponse({"model_spec": spec, "metadata": nested})

    async def predict(self, name: str, request: Request) -> Response:
        """Run a signature of the newest version."""
        return await self._predict(self._repository.pick(name), request)

    async def predict_version(self, name: str, version: str, request: Request) -> Response:
        """Run a signature of one version."""
        return await self._predict(self._repository.get(name, parse_version(version)), request)

    async def _predict(self, served: ServedVersion, request: Request) -> Response:
        with served.in_use():
            content, header = await predict_json(self._predictor, served, request)
        return Response(content, media_type="application/json", headers=header)

    async def classify(self, request: Request, top: int = Query(5, ge=1, le=1000)) -> JSONResponse:
        """Classify images."""
        served = self._repository.pick()
        signature = served.model.image_signature
        if signature is None:
            raise ApiError(501, "This model has no signature for the bytes of image files")
        with served.in_use():
            async with self._predictor.uploads(request) as images:
                outputs = await self._predictor.predict_images(served, signature, images)
        results = classify_results(served.model, images, outputs, top=top)
        model = {"model": served.model.name, "version": str(served.model.version)}
        return JSONResponse({**model, "results": results}, headers=served.header)

    async def explain(
        self,
        request: Request,
        class_name: str | None = Query(None, alias="class", description=openapi.CLASS),
    ) -> Response:
        """Return the image with a heat map of the evidence for a class, as PNG."""
        served = self._repository.current
        make_request, spec = prepare_explain(served.model, class_name)
        with served.in_use():
            async with self._predictor.uploads(request) as (image, *others):
                if others:
                    raise bad_request("Send one image at a time")
                outputs = await served.batcher.predict(make_request(image.content))
                error = image_error(image, ok=bool(outputs["ok"][0]))
                if error is not None:
                    raise bad_request(f"The image cannot be explained: {error}")
                heat_map = outputs["heatmap"][0]
                png = await asyncio.to_thread(draw_heat_map, image.content, heat_map, spec)
        return Response(png, media_type="image/png")

    async def healthz(self) -> JSONResponse:
        """Return 200 while the process runs."""
        return JSONResponse({"status": "ok"})

    async def readyz(self) -> JSONResponse:
        """Return 200 if requests may be sent, 503 while the server stops."""
        version = self._repository.ready.model.version
        return JSONResponse({"status": "ready", "version": str(version)})

    async def statistics(self) -> JSONResponse:
        """Return what every version has answered, how both models compare, and what is kept."""
        await self._update_drift()
        served = [one.statistics.to_json() for one in self._repository.all_served]
        shadow, sample = self._after.shadow, self._after.sample
        document = {
            "served": served,
            "shadow": shadow and shadow.to_json(),
            "kept_share": sample.share if sample else 0.0,
        }
        return JSONResponse(document)

    async def _update_drift(self) -> None:
        for one in self._repository.all_served:
            await one.statistics.update()

    async def metrics(self) -> Response:
        """Return the metrics in Prometheus' text format."""
        await self._update_drift()
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


async def predict_json(
    predictor: Predictor, served: ServedVersion, request: Request
) -> tuple[bytes, dict[str, str]]:
    """Return the response to a JSON request in TensorFlow Serving's format, and its header.

    Raises:
        ApiError: the request is invalid or too large, or the server is busy.
    """

    def parse(body: bytes) -> PredictRequest:
        return parse_predict_request(body, served.signatures)

    parsed, outputs, answering = await predictor.predict(served, request, parse, lambda one: one)
    return await asyncio.to_thread(write_predict_response, outputs, parsed), answering.header


def parse_version(version: str) -> int:
    """Return the version number of a URL.

    Raises:
        HTTPException, ApiError: it is no number.
    """
    if not _DIGITS.fullmatch(version):
        raise HTTPException(404)  # not a valid URL
    if len(version) > _MAX_DIGITS:
        raise bad_request(f"Failed to convert version: {version[:40]} to numeric.")
    return int(version)
