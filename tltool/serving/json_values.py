"""Values of JSON requests: from nested lists to arrays, with errors that name the value."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.signatures import Signature, TensorInfo

Arrays = dict[str, NDArray[Any]]
_MAX_LISTS = 3_000_000  # and objects, in a JSON text
_MAX_NAMES = 200_000
_LONG_TEXT = 2**16  # bytes
_LONG_NUMBER = re.compile(rb"[\[,:\s]-?[0-9]{400}")  # digits in a string follow other bytes
_MAX_DEPTH = 16  # levels of lists
_MAX_SHOWN = 80  # characters of an invalid value in a message
_INTEGERS = {"DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"} | {
    f"DT_UINT{bits}" for bits in (8, 16, 32, 64)
}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_FLOATS = {"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"}


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Python's parser holds up all other requests, so a text that takes it more than a second is not
    parsed: pixels of all images that fit into the limit of a request have fewer lists.

    Raises:
        ApiError: it is no JSON, no object, or has too many parts.
    """
    if not body:
        raise bad_request("JSON Parse error: The document is empty")
    if body.count(b"[") + body.count(b"{") > _MAX_LISTS or body.count(b":") > _MAX_NAMES:
        raise ApiError(
            413, f"The JSON text has more than {_MAX_LISTS:,} lists or {_MAX_NAMES:,} names"
        )
    if len(body) > _LONG_TEXT and _LONG_NUMBER.search(body):
        raise bad_request("JSON Parse error: a number of more than 400 digits")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise bad_request(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError:
        raise bad_request("JSON Parse error: the request is not UTF-8") from None
    except (RecursionError, ValueError):
        raise bad_request("JSON Parse error: nested too deeply, or too large a number") from None
    if not isinstance(document, dict):
        raise bad_request("JSON Value: the request must be an object")
    return document


def to_array(value: Any, *, name: str, info: TensorInfo) -> NDArray[Any]:
    """Return nested lists as an array.

    Args:
        value: a number, a string, ``{"b64": …}``, or lists of them of equal length.
        name: of the input.
        info: its dtype and shape.

    Raises:
        ApiError: the value does not have this dtype and shape.
    """
    shape, flat = flatten(value)
    array = typed_array(flat, name, info).reshape(shape)
    if info.shape is not None and not fits_shape(array.shape, info.shape):
        expected = ",".join(map(str, info.shape))
        actual = ",".join(map(str, array.shape))
        raise bad_request(f"Tensor name: {name} has shape [{actual}], expected [{expected}]")
    return array


def flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Return the shape of nested lists and their values in row-major order.

    Raises:
        ApiError: the lists have different lengths or depths.
    """
    shape = _shape(value)
    flat: list[Any] = []
    _flatten(value, shape, 0, flat)
    return shape, flat


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
        if len(shape) > _MAX_DEPTH:
            raise bad_request(f"Encountered list at unexpected level: {len(shape)}")
    return shape


def _flatten(value: Any, shape: list[int], level: int, into: list[Any]) -> None:
    """Append the leaves of ``value`` to ``into``; all must have the same depth."""
    if level == len(shape):
        if isinstance(value, list):
            raise bad_request(f"Encountered list at unexpected level: {level} expected < {level}")
        into.append(value)
        return
    if not isinstance(value, list):
        raise bad_request(
            f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {len(shape)}"
        )
    if len(value) != shape[level]:
        raise bad_request(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    if level + 1 == len(shape) and not any(isinstance(one, list) for one in value):
        into.extend(value)  # the innermost lists are long: avoid a call per number
        return
    for one in value:
        _flatten(one, shape, level + 1, into)


def typed_array(flat: list[Any], name: str, info: TensorInfo) -> NDArray[Any]:
    """Return a flat list of JSON values as an array [N] with the dtype of ``info``.

    Raises:
        ApiError: a value has another type.
    """
    if info.is_string:
        array = np.empty(len(flat), dtype=object)
        array[:] = [string_bytes(value) for value in flat]
        return array
    for value in flat:
        if not _has_type(value, info.dtype):
            kind = info.dtype.removeprefix("DT_").lower()
            raise bad_request(f"JSON Value: {shown(value)} is not of expected type: {kind}")
    try:
        with np.errstate(over="ignore"):  # becomes infinity
            return np.array(flat, dtype=info.numpy_dtype())
    except (OverflowError, ValueError, TypeError):
        raise bad_request(f"A value of {name} does not fit into {info.dtype}") from None


def _has_type(value: Any, dtype: str) -> bool:
    if dtype == "DT_BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if dtype in _INTEGERS:
        return isinstance(value, int)
    # NumPy would turn a larger integer into infinity
    return dtype in _FLOATS and (isinstance(value, float) or abs(value) < 2**53)


def string_bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string, as UTF-8, or of ``{"b64": …}``.

    Raises:
        ApiError: it is neither.
    """
    if isinstance(value, dict):
        if not is_base64(value):
            raise bad_request(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
        return decode_base64(value["b64"])
    if not isinstance(value, str):
        raise bad_request(f"JSON Value: {shown(value)} is not of expected type: string")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise bad_request("JSON Parse error: half of a surrogate pair in a string") from None


def is_base64(value: Any) -> bool:
    """Return whether ``value`` is ``{"b64": …}``, TensorFlow Serving's form of bytes."""
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64, of the standard or the URL alphabet, with or without padding.

    Raises:
        ApiError: it is no base64.
    """
    try:
        standard = text.encode("ascii").translate(_URL_SAFE, b"\r\n\t ")
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise bad_request("Unable to base64 decode") from None


def fits_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Return whether ``shape`` is ``expected``, in which -1 is any size."""
    return len(shape) == len(expected) and all(
        limit in (-1, size) for size, limit in zip(shape, expected, strict=True)
    )


def count_rows(inputs: Arrays, signature: Signature) -> int:
    """Return the number of items; 0 if the signature has no batch dimension.

    Raises:
        ApiError: there are none, or the inputs have different numbers.
    """
    if not signature.can_batch:
        return 0
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise bad_request("The inputs have different numbers of items")
    (rows,) = sizes or {0}
    if rows == 0:
        raise bad_request("The request contains no items")
    return rows


def shown(value: Any) -> str:
    """Return a value of the client for a message, shortened."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        text = "a deeply nested value"
    short = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return short.encode("utf-8", "replace").decode()
