"""Load a weights file into a backbone, or report exactly where it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tltool.errors import UsageError
from tltool.weights.weights_formats import LayerArrays, read_layers

if TYPE_CHECKING:
    import keras

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
    layers = read_layers(path)
    targets = [layer for layer in model.layers if layer.weights]
    for layer in targets:
        expected = [tuple(weight.shape) for weight in layer.weights]
        _check_layer(layer.name, expected, layers, path, backbone)
    _check_surplus({layer.name for layer in targets}, layers, path, backbone)
    for layer in targets:
        for weight, array in zip(layer.weights, layers[layer.name], strict=True):
            weight.assign(array)


def convolutions(layers: LayerArrays) -> list[str]:
    """Return the names of the convolutions in ``layers``, except those of a tltool head."""
    return [
        name
        for name, arrays in layers.items()
        if any(array.ndim == 4 for array in arrays) and not name.startswith(_HEAD_PREFIX)
    ]


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
