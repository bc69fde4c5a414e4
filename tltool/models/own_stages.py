"""Find the stages of a network by the resolution of its feature maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras

from tltool.models.backbone import Stage
from tltool.models.preprocessing import PREPROCESS

_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_NORMS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)
_EXPANSION, _EXPANDING_LAYERS = 3, 1  # times as many channels, by one convolution


@dataclass(frozen=True)
class _Cut:
    """A feature map through which everything flows: the network can be cut there.

    Attributes:
        layer: whose output it is.
        stride: pixels between two positions, rounded to a power of two.
        trained: number of layers with weights between the cut before and this one, besides
            normalisation.
    """

    layer: keras.layers.Layer
    stride: int
    trained: int

    @property
    def channels(self) -> int:
        """Channels of the feature map."""
        return int(self.layer.output.shape[-1])

    @property
    def tokens(self) -> bool:
        """Whether it is the tokens [B, T, D] of a transformer."""
        return len(self.layer.output.shape) == 3

    @property
    def pools(self) -> bool:
        """Whether it is the output of a pooling that makes the maps smaller."""
        return isinstance(self.layer, _POOLING) and self.layer.strides[0] > 1


def find_stages(model: keras.Model) -> tuple[Stage, ...]:
    """Return the stages of a feature extractor, from the input to its output.

    A stage ends in the last feature map of its resolution through which everything flows, or in the
    pooling behind it. A convolution that only widens the maps before they get smaller, as in
    EfficientNet, belongs to the next stage. The tokens of a transformer are cut after each block.
    Each stage has layers with weights. A network without such a place inside has a single stage.

    Args:
        model: a flat functional model, images [B, H, W, C] to a feature map [B, h, w, K]; it begins
            with the layer ``preprocess``.
    """
    groups = _with_weights(_by_resolution(_cuts(model)))
    ends = [*map(_before_expansion, groups[:-1]), groups[-1][-1]]
    return tuple(
        Stage(f"stage{number}", end.layer.name, end.stride, end.channels, ())
        for number, end in enumerate(ends, start=1)
    )


def _by_resolution(cuts: list[_Cut]) -> list[list[_Cut]]:
    """Group consecutive cuts of one resolution; a pooling ends the group before it."""
    groups: list[list[_Cut]] = []
    ended = True
    for cut in cuts:
        if groups and cut.pools and not cut.trained:
            groups[-1].append(cut)
            ended = True
        elif ended or groups[-1][-1].stride != cut.stride or (cut.tokens and cut.trained):
            groups.append([cut])
            ended = False
        else:
            groups[-1].append(cut)
    return groups


def _with_weights(groups: list[list[_Cut]]) -> list[list[_Cut]]:
    """Join groups without weights with the next one, the last with the one before."""
    joined: list[list[_Cut]] = []
    waiting: list[_Cut] = []
    for group in groups:
        waiting = [*waiting, *group]
        if any(cut.trained for cut in group):
            joined.append(waiting)
            waiting = []
    if waiting and joined:
        joined[-1] += waiting
    return joined or [waiting]


def _before_expansion(group: list[_Cut]) -> _Cut:
    """Return the last cut of a group, or the one before a convolution that widens its maps."""
    last, trained = group[-1], 0
    total = sum(cut.trained for cut in group)
    for cut in reversed(group):
        if cut.channels != last.channels:
            expands = _EXPANSION * cut.channels <= last.channels and trained <= _EXPANDING_LAYERS
            return cut if expands and trained < total else last
        trained += cut.trained
    return last


def _cuts(model: keras.Model) -> list[_Cut]:
    """Return the feature maps through which everything flows, in the order of computation.

    A tensor is one if no tensor that was computed before it is used after it: these are the
    articulation points of the graph.
    """
    operations = model.operations
    place = {id(operation): number for number, operation in enumerate(operations)}
    until: dict[int, int] = {}  # by the operation that computed it: where it is used last
    for operation in operations:
        for tensor in _inputs(operation):
            source = place[id(tensor._keras_history.operation)]
            until[source] = max(until.get(source, 0), place[id(operation)])
    start = place[id(model.get_layer(PREPROCESS))]
    side = int(operations[start].output.shape[1])
    cuts, busy_until, trained = [], 0, 0
    for number in range(start + 1, len(operations)):
        busy_until = max(busy_until, until.get(number - 1, 0))
        operation = operations[number]
        trained += _is_trained(operation)
        if busy_until <= number and _is_map(operation):
            cuts.append(_Cut(operation, _stride(side, operation), trained))
            trained = 0
    return cuts


def _inputs(operation: Any) -> list[Any]:
    if isinstance(operation, keras.layers.InputLayer):
        return []
    inputs: list[Any] = keras.tree.flatten(operation.input)
    return inputs


def _is_map(operation: Any) -> bool:
    if not isinstance(operation, keras.layers.Layer):
        return False
    if isinstance(operation, keras.layers.ZeroPadding2D):
        return False  # padding changes no resolution
    shape = getattr(operation.output, "shape", ())
    return len(shape) in (3, 4) and None not in shape[1:]


def _is_trained(operation: Any) -> bool:
    return bool(getattr(operation, "trainable_weights", None)) and not isinstance(operation, _NORMS)


def map_side(layer: keras.layers.Layer) -> int:
    """Return the rows of a feature map [B, h, w, K], or of the square of tokens [B, T, D]."""
    shape = layer.output.shape
    return int(shape[1]) if len(shape) == 4 else math.isqrt(shape[1])


def _stride(side: int, layer: keras.layers.Layer) -> int:
    return int(2 ** round(math.log2(max(1.0, side / max(1, map_side(layer))))))
