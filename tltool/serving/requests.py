"""Parse TensorFlow Serving's predict requests: JSON in row or column format to arrays."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.serving.api_errors import bad_request
from tltool.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorInfo

Arrays = dict[str, NDArray[Any]]
_KEYS = {"signature_name", "instances", "inputs"}
_MAX_DEPTH = 16  # levels of lists
_MAX_SHOWN = 80  # characters of an invalid value in a message
_INTEGERS = {"DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"} | {
    f"DT_UINT{bits}" for bits in (8, 16, 32, 64)
}
_FLOATS = {"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"}


@dataclass(frozen=True)
class PredictRequest:
    """A parsed predict request.

    Attributes:
        signature: to run.
        inputs: arrays by name; strings as object arrays of bytes.
        rows: number of items; 0 if the signature has no batch dimension.
        by_row: whether the response is in row format.
    """

    signature: Signature
    inputs: Arrays
    rows: int
    by_row: bool


def parse_predict_request(body: bytes, signatures: Mapping[str, Signature]) -> PredictRequest:
    """Parse the JSON ``body`` of a predict request.

    Raises:
        ApiError: it is no JSON, or does not match the signature.
    """
    document = _parse_json(body)
    signature = _select_signature(document, signatures)
    if "instances" in document and "inputs" in document:
        raise bad_request(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if "instances" in document:
        inputs = _from_rows(document["instances"], signature)
    elif "inputs" in document:
        inputs = _from_columns(document["inputs"], signature)
    else:
        raise bad_request("Missing 'inputs' or 'instances' key")
    rows = _rows(inputs, signature)
    return PredictRequest(signature, inputs, rows, by_row="instances" in document)


def _parse_json(body: bytes) -> dict[str, Any]:
    if not body:
        raise bad_request("JSON Parse error: The document is empty")
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


def _select_signature(
    document: Mapping[str, Any], signatures: Mapping[str, Signature]
) -> Signature:
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise bad_request("'signature_name' key must be a string value.")
    signature = signatures.get(name or DEFAULT_SIGNATURE)
    if signature is None:
        raise bad_request(f'Serving signature name: "{_shown(name)}" not found in signature def')
    return signature


def _from_rows(instances: Any, signature: Signature) -> Arrays:
    if not isinstance(instances, list):
        raise bad_request("Excepting 'instances' to be an list/array")
    if not instances:
        raise bad_request("No values in 'instances' array")
    names = set(signature.inputs)
    if all(isinstance(row, dict) and not _is_base64(row) for row in instances):
        for row in instances:
            _check_names(set(row), names)
        columns = {name: [row[name] for row in instances] for name in signature.inputs}
    elif len(names) == 1:
        columns = {name: instances for name in names}
    else:
        raise bad_request(
            f"instances is a plain list, but expecting list of objects as multiple input tensors "
            f"required as per tensorinfo_map: {', '.join(sorted(names))}"
        )
    return _arrays(columns, signature)


def _from_columns(inputs: Any, signature: Signature) -> Arrays:
    names = set(signature.inputs)
    if isinstance(inputs, dict) and not _is_base64(inputs):
        _check_names(set(inputs), names)
        return _arrays(inputs, signature)
    if len(names) != 1:
        raise bad_request(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            f"required as per tensorinfo_map: {', '.join(sorted(names))}"
        )
    return _arrays({name: inputs for name in names}, signature)


def _check_names(received: set[str], names: set[str]) -> None:
    for name in sorted(received - names):
        raise bad_request(f"JSON object: does not have named input: {_shown(name)}")
    for name in sorted(names - received):
        raise bad_request(f"Missing named input: {name}")


def _arrays(columns: Mapping[str, Any], signature: Signature) -> Arrays:
    return {
        name: _array(columns[name], name=name, info=info) for name, info in signature.inputs.items()
    }


def _array(value: Any, *, name: str, info: TensorInfo) -> NDArray[Any]:
    shape = _shape(value)
    flat: list[Any] = []
    _flatten(value, shape, 0, flat)
    array = _typed(flat, name, info).reshape(shape)
    if info.shape is not None and not _fits(array.shape, info.shape):
        expected = ",".join(map(str, info.shape))
        actual = ",".join(map(str, array.shape))
        raise bad_request(f"Tensor name: {name} has shape [{actual}], expected [{expected}]")
    return array


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
            f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
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


def _typed(flat: list[Any], name: str, info: TensorInfo) -> NDArray[Any]:
    if info.is_string:
        array = np.empty(len(flat), dtype=object)
        array[:] = [_bytes(value) for value in flat]
        return array
    for value in flat:
        if not _has_type(value, info.dtype):
            kind = info.dtype.removeprefix("DT_").lower()
            raise bad_request(f"JSON Value: {_shown(value)} is not of expected type: {kind}")
    try:
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


def _bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        if not _is_base64(value):
            raise bad_request(
                f"JSON Value: {_shown(value)} not formatted correctly for base64 data"
            )
        return _from_base64(value["b64"])
    if not isinstance(value, str):
        raise bad_request(f"JSON Value: {_shown(value)} is not of expected type: string")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise bad_request("JSON Parse error: half of a surrogate pair in a string") from None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _from_base64(text: str) -> bytes:
    try:
        standard = text.encode("ascii").translate(_URL_SAFE, b"\r\n\t ")
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise bad_request("Unable to base64 decode") from None


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        limit in (-1, size) for size, limit in zip(shape, expected, strict=True)
    )


def _rows(inputs: Arrays, signature: Signature) -> int:
    if not signature.can_batch:
        return 0
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise bad_request("The inputs have different numbers of items")
    (rows,) = sizes or {0}
    if rows == 0:
        raise bad_request("The request contains no items")
    return rows


def _shown(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        text = "a deeply nested value"
    short = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return short.encode("utf-8", "replace").decode()
