"""Unpickle the tables of a PyTorch checkpoint without PyTorch and without code.

A pickle can call any function. It is first checked to hold only the opcodes that a table of
tensors needs, and then only the names by which PyTorch describes tensors are resolved; everything
else is refused.

Source: ``torch/serialization.py`` of PyTorch;
https://docs.python.org/3/library/pickle.html#restricting-globals
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Name of the storage class in PyTorch, bytes of an element, and NumPy's type. A type without
# a NumPy type is skipped: only floating-point tensors are weights.
STORAGES: Mapping[str, tuple[int, str | None]] = {
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
class Storage:
    """A block of elements of one type; ``key`` finds its bytes in the file."""

    kind: str
    key: str
    elements: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage; ``offset`` and ``strides`` count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def unpickle(stream: io.BytesIO) -> Any:
    """Return the object of the next pickle of ``stream``.

    Raises:
        ValueError: it has another opcode or object than a table of tensors needs.
        pickle.UnpicklingError: it is damaged; also EOFError, TypeError and others.
    """
    return TorchUnpickler(checked(stream)).load()


def checked(stream: io.BytesIO) -> io.BytesIO:
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


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(shape, tuple):
        raise ValueError("its pickle describes a tensor wrongly")
    if not isinstance(strides, tuple):
        raise ValueError("its pickle describes a tensor wrongly")
    return Tensor(storage, offset, shape, strides)


_CALLS = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"),
}


class TorchUnpickler(pickle.Unpickler):
    """Resolves the names of PyTorch's tensors and nothing else."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for a name of PyTorch; raise ValueError for every other name."""
        if (module, name) in _CALLS:
            return _Call(name)
        if module in ("torch", "torch.storage") and name in STORAGES:
            return name
        raise ValueError(
            f"it needs the Python object {module}.{name}; "
            "save only the tensors: torch.save(model.state_dict(), FILE)"
        )

    def persistent_load(self, pid: Any) -> Storage:
        """Return the storage that ``pid`` describes: ('storage', type, key, device, elements)."""
        match pid:
            case ("storage", str(kind), str(key), _, int(elements), *view) if kind in STORAGES:
                if any(part is not None for part in view):
                    raise ValueError("a tensor is a view of another file's storage")
                return self.storages.setdefault(key, Storage(kind, key, elements))
        raise ValueError("its pickle describes a storage wrongly")
