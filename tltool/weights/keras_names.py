"""Match a weights file of ``keras.applications`` with a network whose layers have other names.

Keras loads its published files by the order of layers: the names in some are from older versions
(``expanded_conv/depthwise``), and automatic names (``conv2d_17``) depend on what was built before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from tltool.weights.weights_formats import LayerArrays

Shapes = Mapping[str, Sequence[tuple[int, ...]]]
"""Name of each layer with weights, in the order of the model, and the shapes of its arrays."""

_AUTOMATIC = re.compile(
    r"(conv2d|separable_conv2d|depthwise_conv2d|batch_normalization|layer_normalization)(?:_(\d+))?"
)
_CLASSIFIER = "predictions"
_NORMALIZATION = [(3,), (3,), ()]  # mean, variance and count of keras.layers.Normalization
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def in_order_of(shapes: Shapes, layers: LayerArrays) -> LayerArrays:
    """Return ``layers`` under the names of ``shapes``, matched by position.

    They are returned unchanged if all names match and none is automatic, or if number or shapes of
    the layers differ: then the names are compared, which gives the better message.

    Args:
        shapes: the layers of the backbone.
        layers: those of a file, in its order.
    """
    automatic = any(map(_AUTOMATIC.fullmatch, shapes))
    if not automatic and shapes.keys() <= layers.keys():
        return layers
    backbone_layers = [
        arrays
        for name, arrays in layers.items()
        if arrays and name != _CLASSIFIER and not _is_normalization(arrays)
    ]
    found = [[array.shape for array in arrays] for arrays in backbone_layers]
    if found != [list(expected) for expected in shapes.values()]:
        return layers
    return dict(zip(shapes, backbone_layers, strict=True))


def with_depthwise_kernels(layers: LayerArrays) -> LayerArrays:
    """Return ``layers`` with kernels of one input channel per group as depthwise kernels.

    ConvNeXt's files have [7, 7, 1, C], kernels of a convolution in C groups; here it is a depthwise
    convolution, of [7, 7, C, 1]. No network of ``keras.applications`` has images of one channel.
    """
    return {
        name: [
            array.swapaxes(2, 3) if array.ndim == 4 and array.shape[2] == 1 else array
            for array in arrays
        ]
        for name, arrays in layers.items()
    }


def with_automatic_names(shapes: Shapes, layers: LayerArrays) -> LayerArrays:
    """Return ``layers`` with their automatic names numbered from the first, as in ``shapes``.

    ``conv2d_94, conv2d_95, …`` of a network that was built second becomes ``conv2d, conv2d_1, …``.
    """
    if shapes.keys() <= layers.keys():
        return layers
    numbers: dict[str, list[int]] = {}
    for match in filter(None, map(_AUTOMATIC.fullmatch, layers)):
        numbers.setdefault(match[1], []).append(int(match[2] or 0))
    ranks = {
        _numbered(kind, number): _numbered(kind, rank)
        for kind, of_kind in numbers.items()
        for rank, number in enumerate(sorted(of_kind))
    }
    return {ranks.get(name, name): arrays for name, arrays in layers.items()}


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def other_input_scaling(layers: LayerArrays) -> str:
    """Return what is wrong with the input scaling that is stored in a file; empty if nothing is.

    The files of EfficientNet hold ImageNet's mean, and its standard deviation in place of the
    variance (https://github.com/tensorflow/tensorflow/issues/49930); Keras divides by its root
    twice. A network that was trained from scratch has mean 0 and variance 1.
    """
    for name, arrays in layers.items():
        if _is_normalization(arrays):
            mean, variance = arrays[:2]
            if not (np.allclose(mean, _MEAN, atol=1e-4) and np.allclose(variance, _STD, atol=1e-4)):
                return (
                    f"its layer '{name}' scales pixels with mean {_numbers(mean)} and variance "
                    f"{_numbers(variance)}, not as the published weights"
                )
    return ""


def _is_normalization(arrays: Sequence[np.ndarray]) -> bool:
    return [array.shape for array in arrays] == _NORMALIZATION


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
