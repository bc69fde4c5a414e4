"""The routes that Amazon SageMaker and Google Vertex AI send requests to.

SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
Vertex AI: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from tltool.serving import openapi
from tltool.serving.api_errors import ApiError
from tltool.serving.predictor import Predictor
from tltool.serving.repository import Repository
from tltool.serving.requests import PredictRequest
from tltool.serving.responses import write_predict_response
from tltool.serving.routes import predict_json
from tltool.serving.served_version import ServedVersion
from tltool.serving.settings import PlatformRoutes

_IMAGES = ("image/", "multipart/form-data", "application/x-image", "application/octet-stream")
_OTHERS = ("text/csv", "application/x-recordio-protobuf", "application/x-npy", "text/libsvm")


class CloudRoutes:
    """``/ping`` and ``/invocations``, and the routes that Vertex AI gives to a container.

    A request is JSON in TensorFlow Serving's format, or an image, or a form with images. The
    response is TensorFlow Serving's in row format: ``predictions``.

    Args:
        repository: of the model versions.
        predictor: runs requests.
        routes: further routes for health and predictions.
    """

    def __init__(
        self, repository: Repository, predictor: Predictor, routes: PlatformRoutes
    ) -> None:
        self._repository = repository
        self._predictor = predictor
        self._routes = routes

    def router(self) -> APIRouter:
        """Return the routes with their documentation."""
        router = APIRouter()
        router.get("/ping", **openapi.PING)(self.health)
        router.post("/invocations", responses=openapi.ERRORS, **openapi.INVOCATIONS)(self.predict)
        return router

    def given_routes(self) -> APIRouter:
        """Return the routes that the platform gives; they come before all others."""
        router = APIRouter(include_in_schema=False)
        if self._routes.health:
            router.get(self._routes.health)(self.health)
        if self._routes.predict:
            router.post(self._routes.predict)(self.predict)
        return router

    async def health(self) -> JSONResponse:
        """Return 200 if requests may be sent, 503 while the server stops."""
        version = self._repository.ready.model.version
        return JSONResponse({"status": "ready", "version": str(version)})

    async def predict(self, request: Request) -> Response:
        """Run the newest version on JSON or on images."""
        served = self._repository.pick()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in _OTHERS:
            raise ApiError(415, f"Content-Type {kind} is not supported; send JSON or an image")
        with served.in_use():
            if kind.startswith(_IMAGES):
                content, header = await self._predict_images(served, request), served.header
            else:
                content, header = await predict_json(self._predictor, served, request)
        return Response(content, media_type="application/json", headers=header)

    async def _predict_images(self, served: ServedVersion, request: Request) -> bytes:
        signature = served.model.image_signature
        if signature is None:
            raise ApiError(501, "This model has no signature for the bytes of image files")
        async with self._predictor.uploads(request) as images:
            outputs = await self._predictor.predict_images(served, signature, images)
        by_row = PredictRequest(signature, {}, len(images), by_row=True)
        return await asyncio.to_thread(write_predict_response, outputs, by_row)
