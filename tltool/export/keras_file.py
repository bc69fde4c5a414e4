"""Write a Keras file that Keras 3.6 and later versions open, whatever version wrote it.

Keras stores every argument of every layer, also those that only newer versions know, such as
``quantization_config`` of a dense layer (3.13) or ``input_axes`` of an initializer (3.15). An older
version then refuses the whole file. Here an argument that the oldest version does not know is left
out if it has its default, and is an error otherwise. Initializers are left out: a file with weights
does not use them.

Format: https://keras.io/guides/serialization_and_saving
"""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from tltool.errors import GateError

OLDEST_KERAS = "3.6"
_CONFIG = "config.json"
_EVERY_LAYER = ("name", "trainable", "dtype")
_POOLING = "pool_size strides padding data_format"
_WEIGHTS = (
    "activation use_bias kernel_regularizer bias_regularizer activity_regularizer "
    "kernel_constraint bias_constraint"
)
_SCALE = "beta_regularizer gamma_regularizer beta_constraint gamma_constraint"
_NORM = f"axis epsilon center scale {_SCALE}"
_CONV = "filters kernel_size strides padding data_format dilation_rate groups"
_DEPTHWISE = (
    "kernel_size strides padding depth_multiplier data_format dilation_rate activation "
    "use_bias depthwise_regularizer bias_regularizer activity_regularizer "
    "depthwise_constraint bias_constraint"
)
_SEPARABLE = (
    "depth_multiplier activation use_bias depthwise_regularizer pointwise_regularizer "
    "bias_regularizer activity_regularizer depthwise_constraint pointwise_constraint "
    "bias_constraint"
)
# the arguments in Keras 3.6, initializers aside, of every layer that networks of tltool contain
_ARGUMENTS: Mapping[str, str] = MappingProxyType(
    {
        "Activation": "activation",
        "Add": "",
        "AveragePooling2D": _POOLING,
        "BatchNormalization": f"{_NORM} momentum synchronized",
        "Concatenate": "axis",
        "Conv2D": f"{_CONV} {_WEIGHTS}",
        "Cropping2D": "cropping data_format",
        "Dense": f"units lora_rank {_WEIGHTS}",
        "DepthwiseConv2D": _DEPTHWISE,
        "Dot": "axes normalize",
        "Dropout": "rate noise_shape seed",
        "AlphaDropout": "rate noise_shape seed",
        "GaussianDropout": "rate seed",
        "SpatialDropout2D": "rate data_format seed",
        "Flatten": "data_format",
        "GlobalAveragePooling2D": "data_format keepdims",
        "GlobalMaxPooling2D": "data_format keepdims",
        "GroupNormalization": f"groups {_NORM}",
        "Identity": "",
        "InputLayer": "batch_shape sparse",
        "LayerNormalization": f"{_NORM} rms_scaling",
        "MaxPooling2D": _POOLING,
        "Multiply": "",
        "ReLU": "max_value negative_slope threshold",
        "Rescaling": "scale offset",
        "Reshape": "target_shape",
        "SeparableConv2D": f"{_CONV} {_SEPARABLE}",
        "Softmax": "axis",
        "ZeroPadding2D": "padding data_format",
    }
)


def write_keras_file(model: keras.Model, path: Path) -> None:
    """Write ``model`` as a ``.keras`` file that Keras ``OLDEST_KERAS`` opens.

    Args:
        model: a functional float32 model of built-in layers.
        path: the file.

    Raises:
        GateError: a layer, or one of its arguments, does not exist in that version.
        OSError: it cannot be written.
    """
    model.save(path)
    whole = path.with_name(f"{path.name}.new")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(whole, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == _CONFIG:
                content = json.dumps(_portable_model(json.loads(content))).encode()
            new.writestr(member, content)
    whole.replace(path)


def _portable_model(document: dict[str, Any]) -> dict[str, Any]:
    config = document["config"]
    layers = [{**layer, "config": _portable(layer)} for layer in config["layers"]]
    return {**document, "config": {**config, "layers": layers}}


def _portable(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of one layer with the arguments of the oldest version only."""
    kind, config = layer["class_name"], layer["config"]
    if kind not in _ARGUMENTS or layer["module"] != "keras.layers":
        raise GateError(
            f"the layer '{config.get('name')}' is a {kind}, which Keras {OLDEST_KERAS} lacks",
            hint="export the model in another format; the run folder is unchanged",
        )
    known = (*_EVERY_LAYER, *_ARGUMENTS[kind].split())
    kept = {key: value for key, value in config.items() if key in known}
    dtype = config["dtype"]
    kept["dtype"] = dtype if isinstance(dtype, str) else dtype["config"]["name"]
    defaults = _defaults(kind)
    for key, value in config.items():
        if key not in kept and not key.endswith("_initializer") and value != defaults.get(key):
            raise GateError(
                f"the layer '{config['name']}' ({kind}) has {key}={value!r}, which Keras "
                f"{OLDEST_KERAS} does not know",
                hint="export the model in another format; the run folder is unchanged",
            )
    return kept


def _defaults(kind: str) -> dict[str, Any]:
    """Return the defaults of a layer's arguments, as its configuration states them."""
    parameters = inspect.signature(getattr(keras.layers, kind).__init__).parameters
    return {name: one.default for name, one in parameters.items()} | {"ragged": False}
