"""Read a request, run the model, count: the steps that all routes for predictions share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from fastapi import Request

from tltool.data.decoding.bounded_work import decoded_bytes
from tltool.serving.after_answers import AfterAnswers
from tltool.serving.api_errors import bad_request
from tltool.serving.decodable_items import run_decodable
from tltool.serving.input_images import (
    RequestImage,
    bound_images,
    is_long_conversion,
    prepare_image,
    read_uploads,
    too_many_pixels,
)
from tltool.serving.json_values import Arrays
from tltool.serving.prometheus import Metrics
from tltool.serving.request_body import RequestBodies
from tltool.serving.requests import PredictRequest
from tltool.serving.served_model import IMAGE_INPUT, bytes_array
from tltool.serving.served_version import ServedVersion
from tltool.serving.settings import Limits
from tltool.serving.signatures import Signature

_LARGE_BODY = 2**20  # bytes
Parsed = TypeVar("Parsed")


class Predictor:
    """Runs requests through a version of the model, within the limits of the server.

    Args:
        limits: of requests.
        metrics: counts items.
        after: what else happens with every answer.
    """

    def __init__(self, limits: Limits, metrics: Metrics, after: AfterAnswers | None = None) -> None:
        self._after = after or AfterAnswers()
        self.limits = limits
        self._metrics = metrics
        self._bodies = RequestBodies(limits)
        self._large_bodies = asyncio.Semaphore(1)
        self._long_conversions = asyncio.Semaphore(1)

    async def predict(
        self,
        served: ServedVersion,
        request: Request,
        parse: Callable[[bytes], Parsed],
        request_of: Callable[[Parsed], PredictRequest],
    ) -> tuple[Parsed, Arrays, ServedVersion]:
        """Return the parsed request, the outputs of the model for it, and what has answered.

        Args:
            served: the version; enter its ``in_use()`` before.
            request: its body is read.
            parse: the format of the body; called in a thread.
            request_of: returns the request to the model.

        Raises:
            ApiError: the request is invalid or too large, or the server is busy.
        """

        def parse_and_check(body: bytes) -> tuple[Parsed, PredictRequest]:
            parsed = parse(body)
            predict = request_of(parsed)
            served.batcher.check_rows(predict.rows)
            decoded = bound_images(predict.inputs, predict.signature, self.limits)
            return parsed, replace(predict, decoded=decoded)

        async with self._bodies.read(request) as body:
            async with self._one_large_body(body):
                parsed, bounded = await asyncio.to_thread(parse_and_check, body)
            answering = served.answering(bounded.signature.name)
            started = time.perf_counter()
            outputs = await run_decodable(answering, bounded)
            seconds = time.perf_counter() - started
        self.count(outputs)
        check_finite(outputs)
        self._after.handle(answering, bounded, outputs, seconds)
        top = request_of(parsed).top
        return parsed, limit_top(outputs, top, answering.model.class_names), answering

    def _one_large_body(self, body: bytes) -> AbstractAsyncContextManager[Any]:
        """Parse only one large JSON text at a time: parsed, it takes many times its size."""
        return self._large_bodies if len(body) > _LARGE_BODY else nullcontext()

    @asynccontextmanager
    async def uploads(self, request: Request) -> AsyncIterator[list[RequestImage]]:
        """Give the images of a form or a body, checked and in formats that the model can decode.

        Raises:
            ApiError: there is none, or the only one has too many pixels.
        """
        async with self._bodies.read(request) as body:
            files = await read_uploads(body, request.headers, self.limits)
            images = [await self._prepare(name, content) for name, content in files]
            if len(images) == 1 and images[0].too_large:
                raise too_many_pixels(self.limits)
            yield images

    async def predict_images(
        self, served: ServedVersion, signature: Signature, images: Sequence[RequestImage]
    ) -> Arrays:
        """Return the outputs of ``signature`` for images.

        Raises:
            ApiError: the server is busy.
        """
        inputs = {IMAGE_INPUT: bytes_array([image.content for image in images])}
        decoded = tuple(decoded_bytes(image.content) for image in images)
        request = PredictRequest(signature, inputs, len(images), by_row=False, decoded=decoded)
        started = time.perf_counter()
        outputs = await run_decodable(served, request)
        self.count(outputs)
        self._after.handle(served, request, outputs, time.perf_counter() - started)
        return outputs

    async def _prepare(self, name: str, content: bytes) -> RequestImage:
        """Check and convert an image; only one large image is converted at a time."""
        is_long = await asyncio.to_thread(is_long_conversion, content)
        async with self._long_conversions if is_long else nullcontext():
            return await asyncio.to_thread(prepare_image, name, content, self.limits)

    def count(self, outputs: Arrays) -> None:
        """Add the items to the metrics, by whether they could be decoded."""
        ok = outputs.get("ok")
        if ok is not None:
            decoded = int(ok.sum())
            self._metrics.items.labels("true").inc(decoded)
            self._metrics.items.labels("false").inc(len(ok) - decoded)


def check_finite(outputs: Arrays) -> None:
    """Check that every item has probabilities: of NaN the largest would be the first class.

    Raises:
        ApiError: the pixels of an item are not finite, or too large.
    """
    probabilities = outputs.get("probabilities")
    if probabilities is None or probabilities.dtype.kind != "f":
        return
    finite = np.isfinite(probabilities).reshape(len(probabilities), -1).all(axis=1)
    if not finite.all():
        raise bad_request(
            f"The model has no probabilities for item {int(np.argmin(finite))}, counted from 0: "
            "its values are not finite, or too large"
        )


def limit_top(outputs: Arrays, top: int | None, class_names: Sequence[str]) -> Arrays:
    """Return ``outputs`` with the ``top`` most probable classes; unchanged without ``top``.

    Args:
        outputs: with ``probabilities`` float32 [N, C], and ``ok`` bool [N] if it can be false.
        top: K; at most C classes are returned.
        class_names: of the C classes.
    """
    if top is None:
        return outputs
    probabilities = outputs["probabilities"]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    columns = range(probabilities.shape[1])
    names = np.array([name.encode() for name in class_names[: len(columns)]], dtype=object)
    names = np.append(names, [str(index).encode() for index in columns[len(names) :]])
    top_names = names.astype(object)[order]
    if "ok" in outputs:
        top_names[~outputs["ok"]] = b""
    return {
        **outputs,
        "top_class_names": top_names,
        "top_probabilities": np.take_along_axis(probabilities, order, axis=1),
    }
