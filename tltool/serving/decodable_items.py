"""Runs the model only for the items of a request that can be images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tltool.serving.json_values import Arrays
from tltool.serving.requests import PredictRequest
from tltool.serving.served_model import IMAGE_INPUT, bytes_array
from tltool.serving.served_version import ServedVersion
from tltool.serving.signatures import Signature


async def run_decodable(served: ServedVersion, request: PredictRequest) -> Arrays:
    """Return the outputs of the model for a request, without a run for items of empty bytes.

    Raises:
        ApiError: the queue is full, or the model rejects the inputs.
    """
    empty = _empty_items(request)
    if not empty.any():
        return await served.batcher.predict(request)
    served.batcher.check_rows(request.rows)
    failed = await _failed_item(served, request.signature)
    outputs = {name: np.repeat(array, request.rows, axis=0) for name, array in failed.items()}
    if not empty.all():
        decodable = await served.batcher.predict(_without(request, empty))
        for name, array in decodable.items():
            outputs[name][~empty] = array
    return outputs


def _empty_items(request: PredictRequest) -> NDArray[np.bool_]:
    """Return which items are images of 0 bytes, bool [N]; none if the model has no ``ok``."""
    signature = request.signature
    only_images = set(signature.inputs) == {IMAGE_INPUT} and "ok" in signature.outputs
    if not request.rows or not only_images or not signature.can_batch:
        return np.zeros(1, bool)
    return np.array([content == b"" for content in request.inputs[IMAGE_INPUT]], bool)


def _without(request: PredictRequest, empty: NDArray[np.bool_]) -> PredictRequest:
    """Return the request without the items in ``empty``, bool [N]."""
    inputs = {name: array[~empty] for name, array in request.inputs.items()}
    decoded = [needed for needed, skip in zip(request.decoded, empty, strict=False) if not skip]
    return replace(request, inputs=inputs, rows=int((~empty).sum()), decoded=tuple(decoded))


async def _failed_item(served: ServedVersion, signature: Signature) -> Arrays:
    """Return the outputs for one image that cannot be decoded, which are always the same."""
    known = served.batcher.failed_items
    if signature.name not in known:
        inputs = {IMAGE_INPUT: bytes_array([b""])}
        request = PredictRequest(signature, inputs, 1, by_row=False)
        known[signature.name] = await served.batcher.predict(request)
    return known[signature.name]
