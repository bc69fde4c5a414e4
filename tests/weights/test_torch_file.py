"""PyTorch checkpoints are read without PyTorch: both formats, any strides, and no code."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import UsageError
from tltool.weights.torch_file import read_torch_tensors
from tltool.weights.weights_formats import read_layers

KINDS = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Stored:
    """Stands for a storage of PyTorch, which a pickle names by a persistent id."""

    def __init__(self, key: str, flat: np.ndarray, kind: str) -> None:
        self.key, self.flat, self.kind = key, flat, kind


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(
        self, stored: Stored, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.parts = (stored, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self) -> Any:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts


class Writer(pickle.Pickler):
    def persistent_id(self, item: Any) -> Any:
        if isinstance(item, Stored):
            kind = getattr(sys.modules["torch"], item.kind)
            return ("storage", kind, item.key, "cpu", item.flat.size)
        return None


@pytest.fixture(autouse=True)
def _torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for kind in (*KINDS.values(), "BFloat16Storage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_: Any) -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch._utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def pickled(value: Any) -> bytes:
    stream = io.BytesIO()
    Writer(stream, 2).dump(value)
    return stream.getvalue()


def old_format(table: Any, stored: list[Stored], little: bool = True) -> bytes:
    system = {"protocol_version": VERSION, "little_endian": little, "type_sizes": {"int": 4}}
    parts = [pickled(value) for value in (MAGIC, VERSION, system, table, [s.key for s in stored])]
    blocks = [struct.pack("<q", s.flat.size) + s.flat.tobytes() for s in stored]
    return b"".join(parts + blocks)


def zip_format(table: Any, stored: list[Stored], little: bool = True, **options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr("net/data.pkl", pickled(table))
        archive.writestr("net/byteorder", "little" if little else "big")
        for item in stored:
            archive.writestr(f"net/data/{item.key}", item.flat.tobytes())
        archive.writestr("net/version", "3\n")
    return stream.getvalue()


FORMATS = pytest.mark.parametrize("write", [old_format, zip_format])


def tensor(array: np.ndarray, key: str = "0") -> tuple[Tensor, Stored]:
    """Return a tensor with ``array``'s own strides, in a storage that begins three earlier."""
    base = array
    while base.base is not None:
        base = base.base
    stored = Stored(key, base.ravel("K"), KINDS[array.dtype.str])
    offset = (array.ctypes.data - base.ctypes.data) // array.itemsize
    strides = tuple(step // array.itemsize for step in array.strides)
    return Tensor(stored, offset, array.shape, strides), stored


@FORMATS
@pytest.mark.parametrize("kind", ["<f4", "<f8", "<f2"])
def test_tensors_have_the_values_of_their_strides(write: Callable[..., bytes], kind: str) -> None:
    flat = np.random.default_rng(0).normal(size=2 * 3 * 4 * 5).astype(kind)
    views = {
        "plain": flat.reshape(2, 3, 4, 5),
        "transposed": flat.reshape(2, 3, 4, 5).transpose(3, 1, 0, 2),
        "part": flat.reshape(2, 3, 4, 5)[1, ::2, 1:3],
        "scalar": flat.reshape(-1)[7:8].reshape(()),
    }
    stored = Stored("0", flat, KINDS[kind])
    table = collections.OrderedDict(
        (name, Tensor(stored, *tensor(view)[0].parts[1:4])) for name, view in views.items()
    )
    read = read_torch_tensors(write(table, [stored]))
    assert list(read) == list(views)
    for name, view in views.items():
        assert read[name].dtype == np.float32
        assert read[name].flags.c_contiguous
        np.testing.assert_array_equal(read[name], view.astype(np.float32))


@FORMATS
def test_bfloat16_is_read_and_integers_are_left_out(write: Callable[..., bytes]) -> None:
    half = Stored("a", np.array([0x3F80, 0xC000, 0x3E20], "<u2"), "BFloat16Storage")
    count, held = tensor(np.array([5], "<i8"), "b")
    table = {"w": Tensor(half, 0, (3,), (1,)), "num_batches_tracked": count}
    read = read_torch_tensors(write(table, [half, held]))
    assert {name: array.tolist() for name, array in read.items()} == {"w": [1.0, -2.0, 0.15625]}


@FORMATS
@pytest.mark.parametrize("path", [("state_dict",), ("model",), ("model_state", "model")])
def test_a_table_inside_a_checkpoint_is_found(
    write: Callable[..., bytes], path: tuple[str, ...]
) -> None:
    weight, stored = tensor(np.ones((2, 2), "<f4"))
    value: Any = {"module.conv1.weight": weight}
    for key in path:
        value = {"epoch": 3, "note": "best", "rates": [0.1, None, True], key: value}
    assert list(read_torch_tensors(write(value, [stored]))) == ["conv1.weight"]


class Attack:
    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


@FORMATS
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Attack(), "system; save only the tensors"),
        ({"state_dict": {"w": Attack()}}, "system; save only the tensors"),
        ({"w": types.SimpleNamespace(a=1)}, "types.SimpleNamespace"),
        ({"loss": 0.5}, "no table of tensors"),
        ([1, 2], "no table of tensors"),
        ({"w": 1 + 2j}, "complex"),
    ],
)
def test_everything_but_tensors_is_refused(
    write: Callable[..., bytes],
    value: Any,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "w.pth"
    file.write_bytes(write(value, []))
    with pytest.raises(UsageError, match=message) as caught:
        read_layers(file)
    assert str(file) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@FORMATS
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2, 2), (3, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (-2, -2), (1, 1)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (1,) * 9, (1,) * 9),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    write: Callable[..., bytes], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    stored = Stored("0", np.zeros(4, "<f4"), "FloatStorage")
    with pytest.raises(ValueError, match=r"storage|damaged|larger than its data"):
        read_torch_tensors(write({"w": Tensor(stored, offset, shape, strides)}, [stored]))


@FORMATS
def test_one_storage_is_not_named_a_thousand_times(write: Callable[..., bytes]) -> None:
    stored = Stored("0", np.zeros(1000, "<f4"), "FloatStorage")
    table = {str(n): Tensor(stored, 0, (1000,), (1,)) for n in range(1000)}
    with pytest.raises(ValueError, match="larger than its data"):
        read_torch_tensors(write(table, [stored]))


@FORMATS
def test_big_endian_numbers_are_refused(write: Callable[..., bytes]) -> None:
    weight, stored = tensor(np.ones((2, 2), "<f4"))
    with pytest.raises(ValueError, match="big-endian"):
        read_torch_tensors(write({"w": weight}, [stored], little=False))


def test_a_compressed_archive_is_refused() -> None:
    weight, stored = tensor(np.zeros(100_000, "<f4"))
    content = zip_format({"w": weight}, [stored], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_torch_tensors(content)


def test_a_forged_memo_index_reserves_no_memory() -> None:
    forged = b"\x80\x02}r" + struct.pack("<I", 2**31 - 1) + b"."
    content = old_format({}, [])
    content = content.replace(pickled({}), forged, 1)
    with pytest.raises(ValueError, match="damaged"):
        read_torch_tensors(content)


@settings(max_examples=60)
@given(cut=st.floats(0, 1), flip=st.floats(0, 1), bit=st.integers(0, 7), old=st.booleans())
def test_a_damaged_file_is_an_error_or_gives_arrays(
    cut: float, flip: float, bit: int, old: bool
) -> None:
    weight, stored = tensor(np.arange(24, dtype="<f4").reshape(2, 3, 4).transpose(2, 0, 1))
    content = bytearray((old_format if old else zip_format)({"w": weight}, [stored]))
    content[int(flip * (len(content) - 1))] ^= 1 << bit
    for data in (bytes(content), bytes(content[: int(cut * len(content))])):
        try:
            read = read_torch_tensors(data)
        except (ValueError, zipfile.BadZipFile, KeyError, NotImplementedError):
            continue
        assert all(array.dtype == np.float32 for array in read.values())


def test_the_file_of_a_torchvision_network_gives_its_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(8, 3, 3, 3)).astype("<f4")
    arrays = {"conv1.weight": kernel, "bn1.running_var": rng.random(8).astype("<f4")}
    made = {name: tensor(array, name) for name, array in arrays.items()}
    table = {name: pair[0] for name, pair in made.items()}
    for write in (old_format, zip_format):
        path = tmp_path / write.__name__
        path.write_bytes(write(table, [pair[1] for pair in made.values()]))
        layers = read_layers(path)
        np.testing.assert_array_equal(layers["conv1"][0], kernel.transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(layers["bn1"][0], arrays["bn1.running_var"])
