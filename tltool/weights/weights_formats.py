"""Read weights files of all supported formats into one structure: layer name to its arrays.

The arrays of a layer are in Keras' order and layout: kernel (HWIO) and bias, or gamma, beta,
moving mean and moving variance. The format is detected by content, not by file name.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import UsageError
from tltool.weights.onnx_reader import read_initializers

LayerArrays = dict[str, list[np.ndarray]]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"
_SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_TORCH_ORDER = ("weight", "bias", "running_mean", "running_var")
# tf2onnx writes MODEL/LAYER[_1]/op: the number is its own, not part of the layer's name.
_ONNX_LAYER = re.compile(
    r"(?:^|/)(block\d+_conv\d+|conv\d+_(?:block\d+_\w*?)?(?:conv|bn)|post_bn)(?:_\d+)?/"
)


def read_layers(path: Path) -> LayerArrays:
    """Return the arrays of every layer that the weights file ``path`` holds.

    Reads Keras ``.h5``, ``.weights.h5`` and ``.keras``, ONNX, and safetensors in the names of
    torchvision and timm.

    Raises:
        UsageError: no such file, an unknown format, or a damaged file.
    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.", hint="check the path")
    try:
        return _read(path)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} cannot be read as weights: {error}.",
            hint="give a Keras .h5, .weights.h5 or .keras file, an ONNX or a safetensors file",
        ) from error


def _read(path: Path) -> LayerArrays:
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(_HDF5_MAGIC):
        return _read_hdf5(path)
    if start.startswith(_ZIP_MAGIC):
        return _read_keras(path)
    if start[8:] == b"{":
        return from_torch_names(read_safetensors(path))
    return from_onnx_names(read_initializers(path.read_bytes()))


def _read_keras(path: Path) -> LayerArrays:
    with zipfile.ZipFile(path) as archive:
        if "model.weights.h5" not in archive.namelist():
            raise ValueError(
                "it is a zip archive, but not a .keras file (save PyTorch weights as safetensors)"
            )
        return _read_hdf5(io.BytesIO(archive.read("model.weights.h5")))


def _read_hdf5(source: Path | io.BytesIO) -> LayerArrays:
    import h5py

    with h5py.File(source, "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" in group.attrs:
            return {name: _legacy_arrays(group[name]) for name in _texts(group, "layer_names")}
        layers: LayerArrays = {}
        group.visititems(lambda name, item: _collect_variables(layers, name, item))
        return layers


def _legacy_arrays(group: Any) -> list[np.ndarray]:
    return [np.asarray(group[name], np.float32) for name in _texts(group, "weight_names")]


def _texts(group: Any, attribute: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs[attribute]]


def _collect_variables(layers: LayerArrays, name: str, item: Any) -> None:
    """Collect a ``…/vars`` group of Keras 3; its attribute ``name`` is the name of the layer."""
    if not name.endswith("/vars") or not len(item) or "optimizer" in name.split("/"):
        return
    layer = str(item.attrs.get("name", name.split("/")[-2]))
    layers[layer] = [np.asarray(item[key], np.float32) for key in sorted(item, key=int)]


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the floating-point tensors of a safetensors file, float32, by name.

    Raises:
        ValueError: the header or the data is damaged, or a tensor has an unknown type.

    Format: https://huggingface.co/docs/safetensors, a JSON header and raw little-endian data.
    """
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] in _SAFETENSORS_DTYPES:
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            dtype = _SAFETENSORS_DTYPES[entry["dtype"]]
            flat = np.frombuffer(data[begin:end], dtype)
            tensors[name] = flat.reshape(entry["shape"]).astype(np.float32)
    return tensors


def from_torch_names(tensors: Mapping[str, np.ndarray]) -> LayerArrays:
    """Group tensors such as ``layer1.0.bn1.running_mean`` by layer (``layer1_0_bn1``), as HWIO."""
    by_layer: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        layer, _, role = name.rpartition(".")
        if role in _TORCH_ORDER:
            by_layer.setdefault(layer.replace(".", "_"), {})[role] = _to_keras_layout(array)
    return {
        layer: [roles[role] for role in _TORCH_ORDER if role in roles]
        for layer, roles in by_layer.items()
    }


def from_onnx_names(tensors: Mapping[str, np.ndarray]) -> LayerArrays:
    """Group initialisers of tf2onnx or PyTorch by layer, OIHW to HWIO."""
    if any(name.endswith(".weight") for name in tensors):
        return from_torch_names(tensors)
    layers: LayerArrays = {}
    for name, array in tensors.items():
        match = _ONNX_LAYER.search(name)
        if match:
            layers.setdefault(match.group(1), []).append(_to_keras_layout(array))
    for arrays in layers.values():
        arrays.sort(key=lambda array: -array.ndim)  # kernel first, then bias
    return layers


def _to_keras_layout(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(2, 3, 1, 0))
    return array.T if array.ndim == 2 else array


def write_keras_h5(path: Path, layers: LayerArrays) -> None:
    """Write ``layers`` in the layout of keras.applications' own no-top ``.h5`` files."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"] = b"tensorflow"
        for name, arrays in layers.items():
            group = file.create_group(name)
            roles = ("kernel", "bias") if len(arrays) < 3 else _BATCH_NORM_ROLES
            names = [f"{name}/{role}:0" for role, _ in zip(roles, arrays, strict=False)]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for weight_name, array in zip(names, arrays, strict=True):
                group.create_dataset(weight_name, data=array)


_BATCH_NORM_ROLES = ("gamma", "beta", "moving_mean", "moving_variance")
