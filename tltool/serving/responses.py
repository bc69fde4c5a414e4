"""Write TensorFlow Serving's predict responses: arrays to JSON in row or column format."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.serving.api_errors import ApiError
from tltool.serving.json_values import Arrays
from tltool.serving.requests import PredictRequest


def write_predict_response(outputs: Arrays, request: PredictRequest) -> bytes:
    """Return the JSON body of the response to ``request``.

    Raises:
        ApiError: the outputs cannot be written in row format.
    """
    columns = {name: _to_lists(array, name) for name, array in sorted(outputs.items())}
    document: dict[str, Any]
    if not request.by_row:
        document = {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}
    else:
        sizes = {array.shape[0] if array.ndim else 0 for array in outputs.values()}
        if len(sizes) != 1 or sizes == {0}:
            raise ApiError(
                400, "The outputs have inconsistent batch sizes: use the column format ('inputs')"
            )
        document = {"predictions": _by_row(columns)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def flat_values(array: NDArray[Any], *, as_base64: bool = False) -> list[Any]:
    """Return the values for JSON in row-major order.

    Args:
        array: of an output.
        as_base64: write bytes as base64; otherwise as text, and as ``{"b64": …}`` if they are none.
    """
    if as_base64:
        return [base64.b64encode(one).decode() for one in array.ravel()]
    values: list[Any] = _to_lists(array.ravel(), "")
    return values


def _by_row(columns: Mapping[str, Any]) -> list[Any]:
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _to_lists(array: NDArray[Any], name: str) -> Any:
    """Return nested lists for JSON; float32 as the shortest decimal that round-trips."""
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = [_text(value, as_bytes=as_bytes) for value in array.ravel()]
        objects = np.empty(len(texts), dtype=object)
        objects[:] = texts
        return objects.reshape(array.shape).tolist()
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return array.astype("U32").astype(np.float64).tolist()
    if array.dtype.kind not in "biuf":  # bfloat16 and similar types
        return array.astype(np.float32).astype("U32").astype(np.float64).tolist()
    return array.tolist()


def _text(value: bytes, *, as_bytes: bool) -> Any:
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
