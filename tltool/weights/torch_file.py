"""Read the tensors of a PyTorch checkpoint (``.pth``, ``.pt``) without PyTorch and without code.

A checkpoint is a pickle, which `tltool.weights.torch_pickle` reads without running its code. Both
formats are read: the zip archive that PyTorch writes since 1.6, and the older file of consecutive
pickles.

Source: ``torch/serialization.py`` and ``torch/csrc/jit/serialization`` of PyTorch.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from tltool.weights.torch_pickle import (
    STORAGES,
    Storage,
    Tensor,
    TorchUnpickler,
    checked,
    unpickle,
)

OLD_FORMAT_START = b"\x80\x02\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The first pickle of the older format: its magic number."""

_NESTED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "state_dict_ema",
    "model_ema",
    "model",
    "net",
)
_PREFIX = "module."  # of torch.nn.DataParallel
_MAX_SHARING = 4  # tied weights appear twice; a forged file could name one storage a million times
_MAX_RANK = 8


def read_torch_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Return the floating-point tensors of a PyTorch checkpoint by name.

    Args:
        data: the content of the file: a table of tensors (a ``state_dict``), or a dictionary with
            one under ``state_dict`` or ``model``. The prefix ``module.`` is removed.

    Returns:
        name to float32 array, C-contiguous, whatever the strides in the file.

    Raises:
        ValueError: no such file, damaged, big-endian, with other objects than tensors, or with
            a tensor beyond its storage.

    Examples:
        >>> tensors = read_torch_tensors(Path("resnet50.pth").read_bytes())
        >>> tensors["conv1.weight"].shape
        (64, 3, 7, 7)
    """
    try:
        table, blocks = _open_zip(data) if data.startswith(b"PK") else _open_old(data)
    except (pickle.UnpicklingError, EOFError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"its pickle is damaged: {error}") from error
    named = dict(_named_tensors(_table_of_tensors(table)))
    if not named:
        raise ValueError("it contains no tensors")
    floats = {name: tensor for name, tensor in named.items() if STORAGES[tensor.storage.kind][1]}
    _check_sharing(floats.values())
    return {name: _array(name, tensor, blocks) for name, tensor in floats.items()}


def is_torch_zip(names: list[str]) -> bool:
    """Return whether a zip archive with these members is a PyTorch checkpoint."""
    return any(name.endswith("/data.pkl") for name in names)


def _open_zip(data: bytes) -> tuple[Any, Mapping[str, memoryview]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        root = next((name[: -len("data.pkl")] for name in members if is_torch_zip([name])), None)
        if root is None:
            raise ValueError("it is a zip archive, but no PyTorch checkpoint")
        # PyTorch never compresses: a compressed member could unpack to any size.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("its parts are compressed, which PyTorch does not do")
        if members.get(f"{root}byteorder") and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are big-endian; save it on a little-endian machine")
        if f"{root}constants.pkl" in members:
            raise ValueError("it is a TorchScript program; save its state_dict() instead")
        table = unpickle(io.BytesIO(archive.read(f"{root}data.pkl")))
        start = f"{root}data/"
        blocks = {
            name.removeprefix(start): memoryview(archive.read(name))
            for name in members
            if name.startswith(start)
        }
    return table, blocks


def _open_old(data: bytes) -> tuple[Any, Mapping[str, memoryview]]:
    if not data.startswith(OLD_FORMAT_START):
        raise ValueError("it is no PyTorch checkpoint")
    stream = io.BytesIO(data)
    _magic, _version, system = unpickle(stream), unpickle(stream), unpickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian; save it on a little-endian machine")
    reader = TorchUnpickler(checked(stream))
    table = reader.load()
    keys = unpickle(stream)
    if not isinstance(keys, list):
        raise ValueError("its list of storages is damaged")
    return table, dict(_old_blocks(memoryview(data), stream.tell(), keys, reader.storages))


def _old_blocks(
    data: memoryview, position: int, keys: list[Any], storages: Mapping[str, Storage]
) -> Iterator[tuple[str, memoryview]]:
    """Yield each storage's bytes: a count of elements (int64), then the elements."""
    for key in keys:
        if key not in storages:
            raise ValueError(f"its storage {key} belongs to no tensor")
        if position + 8 > len(data):
            raise ValueError("the file is truncated")
        (elements,) = struct.unpack_from("<q", data, position)
        size = elements * STORAGES[storages[key].kind][0]
        begin, position = position + 8, position + 8 + size
        if elements < 0 or position > len(data):
            raise ValueError("the file is truncated")
        yield key, data[begin:position]


def _array(name: str, tensor: Tensor, blocks: Mapping[str, memoryview]) -> np.ndarray:
    block = blocks.get(tensor.storage.key)
    if block is None:
        raise ValueError(f"the values of the tensor {name} are missing")
    size, kind = STORAGES[tensor.storage.kind]
    if len(block) != size * tensor.storage.elements:
        raise ValueError(f"the storage of the tensor {name} is truncated")
    flat = _floats(block, str(kind))
    strides = tuple(stride * flat.itemsize for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
    return np.array(view, np.float32, order="C")


def _check_sharing(tensors: Collection[Tensor]) -> None:
    """Raise ValueError if tensors that share a storage would need far more memory than the file."""
    stored = sum({t.storage.key: t.storage.elements for t in tensors}.values())
    for tensor in tensors:
        _check_inside(tensor)
    if sum(math.prod(tensor.shape) for tensor in tensors) > _MAX_SHARING * stored:
        raise ValueError("its tensors are larger than its data")


def _floats(block: memoryview, kind: str) -> np.ndarray:
    if kind != "bfloat16":
        return np.frombuffer(block, kind)
    high = np.frombuffer(block, "<u2").astype(np.uint32)  # a bfloat16 is half of a float32
    return (high << 16).view(np.float32)


def _check_inside(tensor: Tensor) -> None:
    """Raise ValueError unless every element of the view lies in its storage."""
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    whole = all(type(n) is int and n >= 0 for n in (*shape, *strides, offset))
    if not whole or len(shape) != len(strides) or len(shape) > _MAX_RANK:
        raise ValueError("the shape of a tensor is damaged")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= tensor.storage.elements:
        raise ValueError("a tensor reaches beyond its storage")


def _table_of_tensors(value: Any) -> Mapping[Any, Any]:
    """Return the state_dict in ``value``: itself, or under one of the usual keys."""
    if isinstance(value, dict):
        if any(isinstance(item, Tensor) for item in value.values()):
            return value
        for key in _NESTED:
            if isinstance(value.get(key), dict):
                return _table_of_tensors(value[key])
    raise ValueError("it holds no table of tensors; save it with torch.save(model.state_dict())")


def _named_tensors(table: Mapping[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in table.items():
        if isinstance(value, Tensor):
            yield str(name).removeprefix(_PREFIX), value
