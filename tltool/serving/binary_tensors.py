"""Tensors as bytes: the extension "binary_tensor_data" of the Open Inference Protocol.

Numbers are little-endian in row-major order. An element of a BYTES tensor is preceded by its
length, an unsigned 32-bit integer.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from tltool.serving.api_errors import bad_request
from tltool.serving.signatures import TensorInfo

_LENGTH = struct.Struct("<I")


def tensor_from_bytes(
    content: memoryview, name: str, info: TensorInfo, shape: tuple[int, ...]
) -> NDArray[np.generic]:
    """Return the array of ``content``; an object array of bytes for BYTES.

    Args:
        content: of the tensor.
        name: of the input, for messages.
        info: its dtype.
        shape: of the tensor.

    Raises:
        ApiError: the number of bytes does not fit to the shape.
    """
    count = math.prod(shape)
    if info.is_string:
        elements = _elements(content, name)
        if len(elements) != count:
            raise bad_request(f"Input {name}: has {len(elements)} elements, its shape has {count}")
        array = np.empty(count, dtype=object)
        array[:] = elements
        return array.reshape(shape)
    dtype = np.dtype(info.numpy_dtype())
    if len(content) != count * dtype.itemsize:
        raise bad_request(
            f"Input {name}: has {len(content)} bytes, its shape needs {count * dtype.itemsize}"
        )
    if dtype == np.bool_:
        booleans: NDArray[np.generic] = np.frombuffer(content, np.uint8) != 0
        return booleans.reshape(shape)
    numbers: NDArray[np.generic] = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
    return numbers.reshape(shape)


def _elements(content: memoryview, name: str) -> list[bytes]:
    elements = []
    start = 0
    while start < len(content):
        end = start + _LENGTH.size
        if end <= len(content):
            end += _LENGTH.unpack_from(content, start)[0]
        if end > len(content):
            raise bad_request(f"Input {name}: its last element is truncated")
        elements.append(bytes(content[start + _LENGTH.size : end]))
        start = end
    return elements


def tensor_to_bytes(array: NDArray[np.generic]) -> bytes:
    """Return the bytes of an array; of an object array those of BYTES."""
    if array.dtype == object:
        return b"".join(_LENGTH.pack(len(one)) + one for one in array.ravel().tolist())
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
