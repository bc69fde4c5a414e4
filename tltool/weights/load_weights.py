"""Load a weights file into a backbone, or report exactly where it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tltool.errors import UsageError
from tltool.weights.keras_files import KERAS_FILES
from tltool.weights.keras_names import (
    Shapes,
    in_order_of,
    other_input_scaling,
    with_automatic_names,
    with_depthwise_kernels,
)
from tltool.weights.layer_settings import different_setting
from tltool.weights.weights_formats import LayerArrays, is_ordered, read_layers

if TYPE_CHECKING:
    import keras

_BY_KERAS = frozenset(row[0] for row in KERAS_FILES)
_TORCH_BOTTLENECK = "layer1_0_conv3"  # PyTorch's name of the third convolution of a block
_KERAS_BOTTLENECKS = {"conv2_block1_3_bn", "conv5_block3_3_bn"}
_HEAD_PREFIX = "head_"  # head layers of a model trained by tltool


def load_weights(model: keras.Model, path: Path, *, backbone: str) -> None:
    """Set every weight of ``model`` from the file ``path``; leave it untouched on an error.

    Args:
        model: the backbone without a head; layers named as in keras.applications, or torchvision's
            names with underscores.
        path: any format of ``weights_formats.read_layers``; dense layers are ignored.
        backbone: its name, for messages.

    Raises:
        UsageError: unreadable, or a layer is missing, superfluous, or of another shape.
    """
    layers = fitting_layers(model, path, backbone=backbone)
    for layer in model.layers:
        if layer.weights:
            for weight, array in zip(layer.weights, layers[layer.name], strict=True):
                weight.assign(array)


def fitting_layers(model: keras.Model, path: Path, *, backbone: str) -> LayerArrays:
    """Return the arrays in ``path`` by layer, after checking that they fit ``model``.

    Args:
        model: as for ``load_weights``; its weights are not used.
        path: any format of ``weights_formats.read_layers``.
        backbone: its name, for messages.

    Raises:
        UsageError: as ``load_weights``.
    """
    targets = [layer for layer in model.layers if layer.weights]
    shapes = {layer.name: [tuple(weight.shape) for weight in layer.weights] for layer in targets}
    layers = _read(path, shapes, backbone)
    check_variant(set(shapes), layers, path, backbone)
    for name, expected in shapes.items():
        _check_layer(name, expected, layers, path, backbone)
    _check_surplus(set(shapes), layers, path, backbone)
    different = different_setting(path, {layer.name: layer.get_config() for layer in targets})
    if different:
        raise _misfit(path, backbone, different)
    return layers


def _read(path: Path, shapes: Shapes, backbone: str) -> LayerArrays:
    """Return the layers of a file by the names of the backbone's layers, as far as they match."""
    layers = read_layers(path)
    if backbone not in _BY_KERAS:
        return layers
    scaling = other_input_scaling(layers)
    if scaling:
        raise _misfit(path, backbone, scaling)
    layers = with_depthwise_kernels(layers)
    if is_ordered(path):
        layers = in_order_of(shapes, layers)
    return with_automatic_names(shapes, layers)


def convolutions(layers: LayerArrays) -> list[str]:
    """Return the names of the convolutions in ``layers``, except those of a tltool head."""
    return [
        name
        for name, arrays in layers.items()
        if any(array.ndim == 4 for array in arrays) and not name.startswith(_HEAD_PREFIX)
    ]


def check_variant(known: set[str], layers: LayerArrays, path: Path, backbone: str) -> None:
    """Refuse PyTorch's ResNets with three convolutions in a block for those of keras.applications.

    The shapes are the same, but another convolution of a block has the stride of 2, so that the
    features would be wrong. Source: the note on ResNet v1.5 in the documentation of torchvision.

    Args:
        known: names of layers of the backbone.
        layers: of the file.
        path: of the file.
        backbone: its name, for messages.

    Raises:
        UsageError: the file holds such a ResNet.
    """
    if _TORCH_BOTTLENECK in layers and known & _KERAS_BOTTLENECKS:
        raise _misfit(
            path,
            backbone,
            "they are of PyTorch's ResNet v1.5, whose blocks have their stride in the 3x3 "
            f"convolution, while {backbone} has it in the 1x1 convolution before",
        )


def _check_layer(
    name: str,
    expected: Sequence[tuple[int, ...]],
    layers: LayerArrays,
    path: Path,
    backbone: str,
) -> None:
    if name not in layers:
        raise _misfit(path, backbone, f"it has no layer '{name}'")
    shapes = [array.shape for array in layers[name]]
    if shapes != list(expected):
        raise _misfit(
            path, backbone, f"layer '{name}' should be {_text(expected)} and is {_text(shapes)}"
        )
    if not all(np.isfinite(array).all() for array in layers[name]):
        raise _misfit(path, backbone, f"layer '{name}' has values that are not finite")


def _check_surplus(known: set[str], layers: LayerArrays, path: Path, backbone: str) -> None:
    # Every layer of VGG16 also exists in VGG19, with the same shape: without this, VGG19's file
    # would load silently and give wrong features.
    surplus = [name for name in convolutions(layers) if name not in known]
    if surplus:
        raise _misfit(path, backbone, f"it also has '{surplus[0]}', which {backbone} does not have")


def _misfit(path: Path, backbone: str, why: str) -> UsageError:
    return UsageError(
        f"The weights in {path} do not fit {backbone}: {why}.",
        hint=f"list the stored weights with: tltool weights list; {backbone} needs its own",
    )


def _text(shapes: Sequence[tuple[int, ...]]) -> str:
    return " + ".join("x".join(map(str, shape)) for shape in shapes)
