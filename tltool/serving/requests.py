"""TensorFlow Serving's requests: JSON in row and column form to arrays."""

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
_DEEPEST = 16  # levels of lists
_SHOWN = 80  # characters of a wrong value
_WHOLE = {"DT_INT8", "DT_INT16", "DT_INT32", "DT_INT64"} | {
    f"DT_UINT{bits}" for bits in (8, 16, 32, 64)
}
_REAL = {"DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"}


@dataclass(frozen=True)
class Question:
    """A request that was understood.

    Attributes:
        signature: that it asks.
        inputs: arrays by name; strings as objects of bytes.
        rows: items in it; 0 where the signature has no batch.
        by_row: whether the answer is in row form.
    """

    signature: Signature
    inputs: Arrays
    rows: int
    by_row: bool


def read_question(body: bytes, signatures: Mapping[str, Signature]) -> Question:
    """Return what the JSON ``body`` asks.

    Raises:
        ApiError: it is no JSON, or not what the signature takes.
    """
    document = _parsed(body)
    signature = _chosen(document, signatures)
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
    return Question(signature, inputs, rows, by_row="instances" in document)


def _parsed(body: bytes) -> dict[str, Any]:
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


def _chosen(document: Mapping[str, Any], signatures: Mapping[str, Signature]) -> Signature:
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


def _check_names(given: set[str], names: set[str]) -> None:
    for name in sorted(given - names):
        raise bad_request(f"JSON object: does not have named input: {_shown(name)}")
    for name in sorted(names - given):
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
        got = ",".join(map(str, array.shape))
        raise bad_request(f"Tensor name: {name} has shape [{got}], expected [{expected}]")
    return array


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
        if len(shape) > _DEEPEST:
            raise bad_request(f"Encountered list at unexpected level: {len(shape)}")
    return shape


def _flatten(value: Any, shape: list[int], level: int, into: list[Any]) -> None:
    """Append the leaves of ``value`` to ``into``, which must all lie at the same depth."""
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
        into.extend(value)  # the innermost lists are long: no call for each number
        return
    for one in value:
        _flatten(one, shape, level + 1, into)


def _typed(flat: list[Any], name: str, info: TensorInfo) -> NDArray[Any]:
    if info.is_string:
        array = np.empty(len(flat), dtype=object)
        array[:] = [_bytes(value) for value in flat]
        return array
    for value in flat:
        if not _is_of_type(value, info.dtype):
            kind = info.dtype.removeprefix("DT_").lower()
            raise bad_request(f"JSON Value: {_shown(value)} is not of expected type: {kind}")
    try:
        return np.array(flat, dtype=info.numpy_dtype())
    except (OverflowError, ValueError, TypeError):
        raise bad_request(f"A value of {name} does not fit into {info.dtype}") from None


def _is_of_type(value: Any, dtype: str) -> bool:
    if dtype == "DT_BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if dtype in _WHOLE:
        return isinstance(value, int)
    # NumPy would make infinity of what is too large
    return dtype in _REAL and (isinstance(value, float) or abs(value) < 2**53)


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
        plain = text.encode("ascii").translate(_URL_SAFE, b"\r\n\t ")
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise bad_request("Unable to base64 decode") from None


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (-1, size) for size, wanted in zip(shape, expected, strict=True)
    )


def _rows(inputs: Arrays, signature: Signature) -> int:
    if not signature.batches:
        return 0
    sizes = {len(array) for array in inputs.values()}
    if len(sizes) > 1:
        raise bad_request("The inputs have different numbers of items")
    (rows,) = sizes or {0}
    if rows == 0:
        raise bad_request("The request holds no item")
    return rows


def _shown(value: Any) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        text = "a value nested deeply"
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return short.encode("utf-8", "replace").decode()
