"""Read the initialisers of an ONNX file directly from the protobuf wire format.

Only weights are needed, so a hundred lines replace the onnx package. Field numbers are those of
 https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_DIMS, _DATA_TYPE, _FLOAT_DATA, _NAME, _RAW_DATA, _EXTERNAL_DATA = 1, 2, 4, 8, 9, 13
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
}


@dataclass
class _Tensor:
    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    raw: memoryview = field(default_factory=lambda: memoryview(b""))
    dtype: np.dtype[Any] | None = None
    external: bool = False


def read_initializers(data: bytes) -> dict[str, np.ndarray]:
    """Return every floating-point initialiser of an ONNX model by its name.

    Raises:
        ValueError: ``data`` is not an ONNX model, is truncated, or has external weights.
    """
    tensors = {}
    for number, graph in _fields(memoryview(data)):
        if number == _MODEL_GRAPH and isinstance(graph, memoryview):
            for inner, value in _fields(graph):
                if inner == _GRAPH_INITIALIZER and isinstance(value, memoryview):
                    tensor = _tensor(value)
                    if tensor.data_type in _FLOAT_TYPES:
                        tensors[tensor.name] = _array(tensor)
    if not tensors:
        raise ValueError("it contains no weights")
    return tensors


def _array(tensor: _Tensor) -> np.ndarray:
    if tensor.external:
        raise ValueError("its weights are in another file (ONNX external data)")
    dtype = tensor.dtype or _FLOAT_TYPES[tensor.data_type]
    if len(tensor.raw) != dtype.itemsize * math.prod(tensor.dims):
        raise ValueError(f"the tensor {tensor.name} is truncated")
    return np.frombuffer(tensor.raw, dtype).reshape(tensor.dims).astype(np.float32)


def _tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in _fields(message):
        if isinstance(value, int):
            if number == _DIMS:
                tensor.dims.append(value)
            elif number == _DATA_TYPE:
                tensor.data_type = value
        else:
            _set_bytes(tensor, number, value)
    return tensor


def _set_bytes(tensor: _Tensor, number: int, value: memoryview) -> None:
    if number == _DIMS:  # packed, as proto3 writers do
        tensor.dims.extend(_packed(value))
    elif number == _NAME:
        tensor.name = bytes(value).decode()
    elif number == _RAW_DATA:
        tensor.raw = value
    elif number == _FLOAT_DATA:
        tensor.raw, tensor.dtype = value, np.dtype("<f4")
    elif number == _EXTERNAL_DATA:
        tensor.external = True


def _packed(buffer: memoryview) -> Iterator[int]:
    position = 0
    while position < len(buffer):
        value, position = _varint(buffer, position)
        yield value


def _fields(buffer: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of one protobuf message."""
    position = 0
    while position < len(buffer):
        key, position = _varint(buffer, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(buffer, position)
            yield number, value
            continue
        if wire == _BYTES:
            length, position = _varint(buffer, position)
        else:
            length = _fixed_length(wire)
        if position + length > len(buffer):
            raise ValueError("the file is truncated")
        yield number, buffer[position : position + length]
        position += length


def _fixed_length(wire: int) -> int:
    if wire not in (_FIXED64, _FIXED32):
        raise ValueError("its format is not known: it is no ONNX file")
    return 8 if wire == _FIXED64 else 4


def _varint(buffer: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(buffer) and shift < 64:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("the file is truncated")
