"""TensorFlow Serving's answers: arrays to JSON in row and column form."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.serving.api_errors import ApiError
from tltool.serving.requests import Arrays, Question


def write_answer(outputs: Arrays, question: Question) -> bytes:
    """Return the JSON body that answers ``question``.

    Raises:
        ApiError: the outputs cannot be told in row form.
    """
    plain = {name: _plain(array, name) for name, array in sorted(outputs.items())}
    document: dict[str, Any]
    if not question.by_row:
        document = {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    else:
        sizes = {array.shape[0] if array.ndim else 0 for array in outputs.values()}
        if len(sizes) != 1 or sizes == {0}:
            raise ApiError(400, "The outputs have inconsistent batch sizes: ask in column form")
        document = {"predictions": _by_row(plain)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _by_row(columns: Mapping[str, Any]) -> list[Any]:
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(array: NDArray[Any], name: str) -> Any:
    """Return nested lists for JSON; float32 as the shortest decimals that give it back."""
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = [_text(value, as_bytes=as_bytes) for value in array.ravel()]
        found = np.empty(len(texts), dtype=object)
        found[:] = texts
        return found.reshape(array.shape).tolist()
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        return array.astype("U32").astype(np.float64).tolist()
    if array.dtype.kind not in "biuf":  # bfloat16 and its like
        return array.astype(np.float32).astype("U32").astype(np.float64).tolist()
    return array.tolist()


def _text(value: bytes, *, as_bytes: bool) -> Any:
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}
