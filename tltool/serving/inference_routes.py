"""The routes of the Open Inference Protocol (V2), REST, for the clients of KServe and Triton.

The protocol: https://github.com/kserve/open-inference-protocol (inference_rest.yaml).
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tltool import __version__
from tltool.serving import openapi
from tltool.serving.open_inference import (
    EXTENSIONS,
    HEADER_LENGTH,
    InferRequest,
    model_metadata,
    parse_infer_request,
)
from tltool.serving.open_inference_response import write_infer_response
from tltool.serving.predictor import Predictor
from tltool.serving.repository import Repository
from tltool.serving.routes import parse_version
from tltool.serving.served_version import ServedVersion


class InferenceRoutes:
    """The routes below ``/v2``.

    Args:
        repository: of the model versions.
        predictor: runs requests.
    """

    def __init__(self, repository: Repository, predictor: Predictor) -> None:
        self._repository = repository
        self._predictor = predictor

    def router(self) -> APIRouter:
        """Return the routes with their documentation."""
        router = APIRouter()
        get, post, errors = router.get, router.post, openapi.ERRORS
        get("/v2", **openapi.SERVER_METADATA)(self.server)
        get("/v2/health/live", **openapi.V2_LIVE)(self.live)
        get("/v2/health/ready", **openapi.V2_READY)(self.ready)
        get("/v2/models", **openapi.V2_MODELS)(self.models)
        model, version = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        get(model, responses=errors, **openapi.V2_METADATA)(self.metadata)
        get(version, responses=errors, **openapi.V2_METADATA)(self.metadata_version)
        get(f"{model}/ready", responses=errors, **openapi.V2_MODEL_READY)(self.model_ready)
        get(f"{version}/ready", responses=errors, **openapi.V2_MODEL_READY)(self.version_ready)
        post(f"{model}/infer", **openapi.V2_INFER)(self.infer)
        post(f"{version}/infer", **openapi.V2_INFER)(self.infer_version)
        return router

    async def server(self) -> JSONResponse:
        """Return name, version and extensions of the server."""
        document = {"name": "tltool", "version": __version__, "extensions": list(EXTENSIONS)}
        return JSONResponse(document)

    async def live(self) -> JSONResponse:
        """Return 200 while the process runs."""
        return JSONResponse({"live": True})

    async def ready(self) -> JSONResponse:
        """Return 200 if requests may be sent, 503 while the server stops."""
        _ = self._repository.ready
        return JSONResponse({"ready": True})

    async def models(self) -> JSONResponse:
        """Return the name of the model, as KServe does."""
        return JSONResponse({"models": [self._repository.source.name]})

    async def metadata(self, name: str) -> JSONResponse:
        """Return the tensors of the model."""
        return JSONResponse(model_metadata(self._repository.get(name).model))

    async def metadata_version(self, name: str, version: str) -> JSONResponse:
        """Return the tensors of one version of the model."""
        served = self._repository.get(name, parse_version(version))
        return JSONResponse(model_metadata(served.model))

    async def model_ready(self, name: str) -> JSONResponse:
        """Return 200 if requests to the model may be sent."""
        return self._ready(name, None)

    async def version_ready(self, name: str, version: str) -> JSONResponse:
        """Return 200 if requests to one version of the model may be sent."""
        return self._ready(name, parse_version(version))

    def _ready(self, name: str, version: int | None) -> JSONResponse:
        self._repository.get(name, version)
        _ = self._repository.ready
        return JSONResponse({"name": name, "ready": True})

    async def infer(self, name: str, request: Request) -> Response:
        """Run the newest version."""
        return await self._infer(self._repository.pick(name), request)

    async def infer_version(self, name: str, version: str, request: Request) -> Response:
        """Run one version."""
        return await self._infer(self._repository.get(name, parse_version(version)), request)

    async def _infer(self, served: ServedVersion, request: Request) -> Response:
        length = request.headers.get(HEADER_LENGTH)
        signatures = served.signatures

        def parse(body: bytes) -> InferRequest:
            return parse_infer_request(body, length, signatures)

        with served.in_use():
            parsed, outputs, answering = await self._predictor.predict(
                served, request, parse, lambda one: one.request
            )
            answer: Any = await asyncio.to_thread(
                write_infer_response, outputs, parsed, answering.model
            )
        content, headers = answer
        return Response(content, headers={**headers, **answering.header})
