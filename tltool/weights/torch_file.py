"""Read the tensors of a PyTorch checkpoint (``.pth``, ``.pt``) without PyTorch and without code.

A checkpoint is a pickle, and a pickle can call any function. This reader first checks that the
pickle holds only the opcodes that a table of tensors needs, and then resolves only the names by
which PyTorch describes tensors; everything else is refused. Both formats are read: the zip archive
that PyTorch writes since 1.6, and the older file of consecutive pickles.

Source: ``torch/serialization.py`` and ``torch/csrc/jit/serialization`` of PyTorch;
https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

OLD_FORMAT_START = b"\x80\x02\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The first pickle of the older format: its magic number."""

# Name of the storage class in PyTorch, bytes of an element, and NumPy's type. A type without
# a NumPy type is skipped: only floating-point tensors are weights.
_STORAGES: Mapping[str, tuple[int, str | None]] = {
    "FloatStorage": (4, "<f4"),
    "DoubleStorage": (8, "<f8"),
    "HalfStorage": (2, "<f2"),
    "BFloat16Storage": (2, "bfloat16"),
    "LongStorage": (8, None),
    "IntStorage": (4, None),
    "ShortStorage": (2, None),
    "CharStorage": (1, None),
    "ByteStorage": (1, None),
    "BoolStorage": (1, None),
}
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
_MAX_MEMO = 1 << 22  # a forged index would make the unpickler reserve memory for all below it
_OPCODES = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "MEMOIZE"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINSTRING", "SHORT_BINSTRING"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    }
)


@dataclass(frozen=True, slots=True)
class _Storage:
    """A block of elements of one type; ``key`` finds its bytes in the file."""

    kind: str
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A view of a storage; ``offset`` and ``strides`` count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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

    Example:
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
    floats = {name: tensor for name, tensor in named.items() if _STORAGES[tensor.storage.kind][1]}
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
        table = _unpickle(io.BytesIO(archive.read(f"{root}data.pkl")))
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
    _magic, _version, system = _unpickle(stream), _unpickle(stream), _unpickle(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian; save it on a little-endian machine")
    reader = _Unpickler(_checked(stream))
    table = reader.load()
    keys = _unpickle(stream)
    if not isinstance(keys, list):
        raise ValueError("its list of storages is damaged")
    return table, dict(_old_blocks(memoryview(data), stream.tell(), keys, reader.storages))


def _old_blocks(
    data: memoryview, position: int, keys: list[Any], storages: Mapping[str, _Storage]
) -> Iterator[tuple[str, memoryview]]:
    """Yield each storage's bytes: a count of elements (int64), then the elements."""
    for key in keys:
        if key not in storages:
            raise ValueError(f"its storage {key} belongs to no tensor")
        if position + 8 > len(data):
            raise ValueError("the file is truncated")
        (elements,) = struct.unpack_from("<q", data, position)
        size = elements * _STORAGES[storages[key].kind][0]
        begin, position = position + 8, position + 8 + size
        if elements < 0 or position > len(data):
            raise ValueError("the file is truncated")
        yield key, data[begin:position]


def _array(name: str, tensor: _Tensor, blocks: Mapping[str, memoryview]) -> np.ndarray:
    block = blocks.get(tensor.storage.key)
    if block is None:
        raise ValueError(f"the values of the tensor {name} are missing")
    size, kind = _STORAGES[tensor.storage.kind]
    if len(block) != size * tensor.storage.elements:
        raise ValueError(f"the storage of the tensor {name} is truncated")
    flat = _floats(block, str(kind))
    strides = tuple(stride * flat.itemsize for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)
    return np.array(view, np.float32, order="C")


def _check_sharing(tensors: Collection[_Tensor]) -> None:
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


def _check_inside(tensor: _Tensor) -> None:
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
        if any(isinstance(item, _Tensor) for item in value.values()):
            return value
        for key in _NESTED:
            if isinstance(value.get(key), dict):
                return _table_of_tensors(value[key])
    raise ValueError("it holds no table of tensors; save it with torch.save(model.state_dict())")


def _named_tensors(table: Mapping[Any, Any]) -> Iterator[tuple[str, _Tensor]]:
    for name, value in table.items():
        if isinstance(value, _Tensor):
            yield str(name).removeprefix(_PREFIX), value


def _unpickle(stream: io.BytesIO) -> Any:
    return _Unpickler(_checked(stream)).load()


def _checked(stream: io.BytesIO) -> io.BytesIO:
    """Return ``stream`` as it is, after its next pickle was found to have only known opcodes."""
    start = stream.tell()
    try:
        opcodes = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(stream)]
    except ValueError as error:
        raise ValueError(f"its pickle is damaged: {error}") from error
    for name, argument in opcodes:
        if name not in _OPCODES:
            raise ValueError(f"its pickle has the opcode {name}, which no checkpoint needs")
        if name.endswith("BINPUT") and int(argument or 0) > _MAX_MEMO:
            raise ValueError("its pickle is damaged: a memo index is too large")
    stream.seek(start)
    return stream


class _Call:
    """A callable that a pickle may use; an object of its own, so that no pickle can change ours."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        if self.name == "OrderedDict":
            return _Table(*arguments)
        if self.name == "_rebuild_parameter":
            return arguments[0]
        return _tensor(*arguments)


class _Table(dict[Any, Any]):
    """A state_dict; PyTorch sets an attribute ``_metadata`` on it."""


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple):
        raise ValueError("its pickle describes a tensor wrongly")
    if not isinstance(strides, tuple):
        raise ValueError("its pickle describes a tensor wrongly")
    return _Tensor(storage, offset, shape, strides)


_CALLS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"),
}


class _Unpickler(pickle.Unpickler):
    """Resolves the names of PyTorch's tensors and nothing else."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a name of PyTorch; raise ValueError for every other name."""
        if (module, name) in _CALLS:
            return _Call(name)
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return name
        raise ValueError(
            f"it needs the Python object {module}.{name}; "
            "save only the tensors: torch.save(model.state_dict(), FILE)"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage that ``pid`` describes: ('storage', type, key, device, elements)."""
        match pid:
            case ("storage", str(kind), str(key), _, int(elements), *view) if kind in _STORAGES:
                if any(part is not None for part in view):
                    raise ValueError("a tensor is a view of another file's storage")
                return self.storages.setdefault(key, _Storage(kind, key, elements))
        raise ValueError("its pickle describes a storage wrongly")
