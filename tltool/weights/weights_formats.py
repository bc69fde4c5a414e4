"""Read weights files of all supported formats into one structure: layer name to its arrays.

The arrays of a layer are in Keras' order and layout: kernel (HWIO) and bias, or gamma, beta,
moving mean and moving variance. The format is detected by content, not by file name.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import UsageError, reading
from tltool.runs.zip_sizes import check_zip
from tltool.weights.efficientnet_lite_names import to_timm_names
from tltool.weights.hdf5_file import address, open_hdf5
from tltool.weights.onnx_reader import read_initializers
from tltool.weights.other_content import other_content
from tltool.weights.resnet_2017_names import to_current_names
from tltool.weights.torch_file import OLD_FORMAT_START, is_torch_zip, read_torch_tensors

LayerArrays = dict[str, list[np.ndarray]]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ZIP_MAGIC = b"PK\x03\x04"
_SAFETENSORS_DTYPES = ("F64", "F32", "F16")
_TORCH_ORDER = ("weight", "bias", "running_mean", "running_var")
_DEPTHWISE = "conv_dw"  # timm's name of a depthwise convolution, [C, 1, H, W] in PyTorch
# tf2onnx writes MODEL/LAYER[_1]/op: the number is its own, not part of the layer's name.
_ONNX_LAYER = re.compile(
    r"(?:^|/)(block\d+_conv\d+|conv\d+_(?:block\d+_\w*?)?(?:conv|bn)|post_bn)(?:_\d+)?/"
)


def read_layers(path: Path) -> LayerArrays:
    """Return the arrays of every layer that the weights file ``path`` holds.

    Reads Keras ``.h5``, ``.weights.h5`` and ``.keras``, ONNX, and safetensors and PyTorch
    checkpoints in the names of torchvision and timm.

    Raises:
        UsageError: no such file, an unknown format, or a damaged file.
    """
    if not path.is_file():
        raise missing_weights(path)
    hint = "give a Keras .h5, .weights.h5 or .keras, an ONNX, safetensors or PyTorch file"
    with reading(path, "weights file", hint=hint, error=UsageError):
        return _read(path)


def missing_weights(path: Path) -> UsageError:
    """Return the error about a weights file that does not exist."""
    if path.is_dir():
        return UsageError(f"{path} is a folder, not a weights file.", hint="give a file in it")
    return UsageError(f"There is no weights file {path}.", hint="check the path")


def _read(path: Path) -> LayerArrays:
    with path.open("rb") as file:
        start = file.read(len(OLD_FORMAT_START))
    if start.startswith(_HDF5_MAGIC):
        return _read_hdf5(path)
    if start.startswith(_ZIP_MAGIC):
        return _read_zip(path)
    if start[8:9] == b"{":
        return from_torch_names(read_safetensors(path))
    data = path.read_bytes()
    if start == OLD_FORMAT_START:
        return from_torch_names(read_torch_tensors(data))
    other = other_content(data)
    if other:
        raise ValueError(other)
    return from_onnx_names(read_initializers(data))


def _read_zip(path: Path) -> LayerArrays:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if is_torch_zip(names):
            return from_torch_names(read_torch_tensors(path.read_bytes()))
        if "model.weights.h5" not in names:
            raise ValueError("it is a zip archive, but neither a .keras nor a PyTorch file")
        check_zip(archive, path.stat().st_size)
        return _read_hdf5(io.BytesIO(archive.read("model.weights.h5")))


def _read_hdf5(source: Path | io.BytesIO) -> LayerArrays:
    with open_hdf5(source) as file:
        group = file.get("model_weights", file)
        read = _ReadOnce()
        layers: LayerArrays = {}
        if "layer_names" in group.attrs:
            for name in _texts(group, "layer_names"):
                for inner, arrays in _legacy_layers(name, group[name], read).items():
                    _add_layer(layers, inner, arrays)
        else:
            group.visititems(lambda name, item: _collect_variables(layers, name, item, read))
    return to_current_names(layers)


def _add_layer(layers: LayerArrays, name: str, arrays: list[np.ndarray]) -> None:
    """Add a layer; two models inside a model may have layers of one name.

    Raises:
        ValueError: there is another layer of this name.
    """
    before = layers.get(name)
    if before and arrays:
        raise ValueError(
            f"it holds several models with a layer '{name}'; save the one that is needed"
        )
    layers[name] = arrays or before or []


def is_ordered(path: Path) -> bool:
    """Return whether ``path`` is an HDF5 file that lists its layers in the order of the model."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return "layer_names" in file.get("model_weights", file).attrs


class _ReadOnce:
    """Reads each data set of a file once, so that the arrays are not larger than the file."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    def __call__(self, dataset: Any) -> np.ndarray:
        """Return the array, float32; raise ValueError if it was read before."""
        if address(dataset) in self._seen:
            raise ValueError(f"two layers share the array '{dataset.name}'")
        self._seen.add(address(dataset))
        return np.asarray(dataset, np.float32)


def _legacy_layers(name: str, group: Any, read: _ReadOnce) -> LayerArrays:
    """Return the arrays of a layer by its name; of a model inside a model, those of its layers."""
    weights = _texts(group, "weight_names")
    inner = [weight.split("/")[-2] if "/" in weight else name for weight in weights]
    if len(set(inner)) <= 1:
        inner = [name] * len(weights)
    layers: LayerArrays = {name: []} if not weights else {}
    for layer, weight in zip(inner, weights, strict=True):
        layers.setdefault(layer, []).append(read(group[weight]))
    return layers


def _texts(group: Any, attribute: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in group.attrs[attribute]]


def _collect_variables(layers: LayerArrays, name: str, item: Any, read: _ReadOnce) -> None:
    """Collect a ``…/vars`` group of Keras 3; its attribute ``name`` is the name of the layer."""
    if not name.endswith("/vars") or not len(item) or "optimizer" in name.split("/"):
        return
    layer = str(item.attrs.get("name", name.split("/")[-2]))
    _add_layer(layers, layer, [read(item[key]) for key in sorted(item, key=int)])


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the floating-point tensors of a safetensors file, float32, by name.

    Raises:
        Exception: of the library, for a file that is damaged or claims more than it contains.

    Format: https://huggingface.co/docs/safetensors
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = [n for n in file.keys() if file.get_slice(n).get_dtype() in _SAFETENSORS_DTYPES]  # noqa: SIM118
        return {name: np.asarray(file.get_tensor(name), np.float32) for name in names}


def from_torch_names(tensors: Mapping[str, np.ndarray]) -> LayerArrays:
    """Group tensors such as ``layer1.0.bn1.running_mean`` by layer (``layer1_0_bn1``), as HWIO."""
    by_layer: dict[str, dict[str, np.ndarray]] = {}
    for name, array in to_timm_names(tensors).items():
        layer, _, role = name.rpartition(".")
        if role in _TORCH_ORDER:
            depthwise = layer.endswith(_DEPTHWISE)
            keras_array = array.transpose(2, 3, 0, 1) if depthwise else _to_keras_layout(array)
            by_layer.setdefault(layer.replace(".", "_"), {})[role] = keras_array
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
