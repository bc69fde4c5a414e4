"""Every weights format reads back to the same numbers, and misfits are named."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.conftest import unless_thorough
from tltool.errors import UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.weights.load_weights import load_weights
from tltool.weights.weights_formats import read_layers, write_keras_h5

Extractor = Callable[..., keras.Model]


def extractor(name: str, seed: int = 0, size: int = 32) -> keras.Model:
    backbone = get_backbone(name)
    model = build_model(
        backbone,
        image_size=(size, size),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=0,
        norm="none",
        weights=None,
        seed=seed,
        train_batch_norm=True,
    )
    return keras.Model(model.input, model.get_layer(backbone.stages[-1].layer).output)


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.weights]


def torch_tensors(model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights in torchvision's names and layout."""
    tensors = {}
    for layer in model.layers:
        roles = ("weight", "bias", "running_mean", "running_var")
        for role, weight in zip(roles, layer.get_weights(), strict=False):
            array = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight
            tensors[f"{torch_name(layer.name)}.{role}"] = array
    return tensors


def torch_name(name: str) -> str:
    parts = name.split("_")
    return ".".join(parts) if name.startswith("layer") else name


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, "<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def onnx_model(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Return an ONNX model with only these float32 initialisers."""
    graph = b"".join(message(5, onnx_tensor(name, array)) for name, array in tensors.items())
    return varint(1 << 3) + varint(8) + message(7, graph)


def onnx_tensor(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(varint(1 << 3) + varint(size) for size in array.shape)
    data = np.ascontiguousarray(array, "<f4").tobytes()
    return dims + varint(2 << 3) + varint(1) + message(8, name.encode()) + message(9, data)


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def save_as(model: keras.Model, path: Path) -> None:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".safetensors":
        write_safetensors(path, torch_tensors(model))
    elif path.suffix == ".onnx":
        tensors = {k.replace("/kernel", "/conv/Read:0"): v for k, v in onnx_named(model).items()}
        path.write_bytes(onnx_model(tensors))
    else:
        model.save(path)


def onnx_named(model: keras.Model) -> dict[str, np.ndarray]:
    tensors = {}
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            tensors[f"functional_1/{layer.name}_1/kernel"] = kernel.transpose(3, 2, 0, 1)
            tensors[f"functional_1/{layer.name}_1/Squeeze:0"] = bias
    return tensors


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_name", ["w.h5", "w.weights.h5", "w.keras", "w.onnx"])
def test_each_format_restores_every_weight(file_name: str, tmp_path: Path) -> None:
    saved, fresh = extractor("tiny_vgg", seed=1), extractor("tiny_vgg", seed=2)
    save_as(saved, tmp_path / file_name)
    load_weights(fresh, tmp_path / file_name, backbone="tiny_vgg")
    assert all(map(np.array_equal, values(fresh), values(saved)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_name", ["w.h5", "w.weights.h5", "w.keras"])
def test_batch_norm_statistics_come_along(file_name: str, tmp_path: Path) -> None:
    saved, fresh = extractor("tiny_resnet", seed=1), extractor("tiny_resnet", seed=2)
    for weight in saved.weights:
        weight.assign(np.random.default_rng(len(weight.path)).random(weight.shape))
    save_as(saved, tmp_path / file_name)
    load_weights(fresh, tmp_path / file_name, backbone="tiny_resnet")
    assert all(map(np.array_equal, values(fresh), values(saved)))


@pytest.mark.thorough
@pytest.mark.parametrize("name", unless_thorough(["resnet18", "resnet34"], "resnet18"))
def test_safetensors_in_torchvision_names_load_exactly(name: str, tmp_path: Path) -> None:
    saved, fresh = extractor(name, seed=1), extractor(name, seed=2)
    for layer in saved.layers:
        for index, weight in enumerate(layer.weights[2:]):
            weight.assign(np.full(weight.shape, 0.5 + index))
    tensors = torch_tensors(saved)
    assert "layer2.0.downsample.1.running_var" in tensors
    tensors |= {"fc.weight": np.ones((1000, 512)), "fc.bias": np.ones(1000)}
    tensors["bn1.num_batches_tracked"] = np.array(0.0)
    write_safetensors(tmp_path / "w.safetensors", tensors)
    load_weights(fresh, tmp_path / "w.safetensors", backbone=name)
    assert all(map(np.array_equal, values(fresh), values(saved)))


@pytest.mark.thorough
def test_resnet50_loads_a_file_in_the_layout_of_keras_own_host(tmp_path: Path) -> None:
    saved, fresh = extractor("resnet50", seed=1), extractor("resnet50", seed=2)
    layers = {layer.name: layer.get_weights() for layer in saved.layers if layer.weights}
    write_keras_h5(tmp_path / "notop.h5", layers)
    load_weights(fresh, tmp_path / "notop.h5", backbone="resnet50")
    assert all(map(np.array_equal, values(fresh), values(saved)))
    # Keras itself reads the same file, so it is Keras' layout and not just ours.
    other = keras.applications.ResNet50(include_top=False, weights=None)
    other.load_weights(tmp_path / "notop.h5")
    assert all(map(np.array_equal, values(other), values(saved)))


def test_a_saved_classifier_serves_as_weights_for_its_backbone(tmp_path: Path) -> None:
    options = {"image_size": (32, 32), "classes": 2, "head": "gap_conv", "dropout": 0.0}
    options |= {"hidden_units": 0, "norm": "none", "weights": None, "seed": 3}
    model = build_model(get_backbone("tiny_vgg"), **options)
    model.save(tmp_path / "model.keras")
    fresh = extractor("tiny_vgg", seed=4)
    load_weights(fresh, tmp_path / "model.keras", backbone="tiny_vgg")
    assert np.array_equal(values(fresh)[0], model.get_layer("block1_conv1").get_weights()[0])


def test_a_wrong_shape_names_the_first_layer_and_changes_nothing(tmp_path: Path) -> None:
    model = extractor("tiny_vgg")
    before = values(model)
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    layers["block2_conv1"][0] = np.zeros((3, 3, 8, 99))
    write_keras_h5(tmp_path / "w.h5", layers)
    with pytest.raises(UsageError, match=r"'block2_conv1' should be 3x3x8x16 .* 3x3x8x99"):
        load_weights(model, tmp_path / "w.h5", backbone="tiny_vgg")
    assert all(map(np.array_equal, values(model), before))


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    write_keras_h5(tmp_path / "w.h5", {"conv": [np.zeros((3, 3, 3, 8))]})
    with pytest.raises(UsageError, match="has no layer 'block1_conv1'"):
        load_weights(extractor("tiny_vgg"), tmp_path / "w.h5", backbone="tiny_vgg")


def test_weights_of_a_deeper_network_are_an_error_although_all_layers_exist(tmp_path: Path) -> None:
    model = extractor("tiny_vgg")
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    write_keras_h5(tmp_path / "w.h5", layers | {"block3_conv2": [np.zeros((3, 3, 32, 32))]})
    with pytest.raises(UsageError, match="also has 'block3_conv2'"):
        load_weights(model, tmp_path / "w.h5", backbone="tiny_vgg")


def test_values_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    model = extractor("tiny_vgg")
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    layers["block3_conv1"][1][0] = np.nan
    write_keras_h5(tmp_path / "w.h5", layers)
    with pytest.raises(UsageError, match="not finite"):
        load_weights(model, tmp_path / "w.h5", backbone="tiny_vgg")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am a text file", b"\x89HDF\r\n\x1a\n" + b"junk" * 9, b"PK\x03\x04junk"],
    ids=["empty", "text", "broken hdf5", "broken zip"],
)
def test_junk_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        read_layers(tmp_path / "w.h5")


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_a_file_cut_short_is_one_clear_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    save_as(extractor("tiny_vgg"), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match="cannot be read"):
        read_layers(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, not a weights file"):
        read_layers(tmp_path)
    with pytest.raises(UsageError, match="There is no weights file"):
        read_layers(tmp_path / "none.h5")
