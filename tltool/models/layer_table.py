"""Layers of a network as a table: output shape, receptive field, parameters, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras

from tltool.models.backbone_registry import Backbone
from tltool.models.heads import HEAD_PREFIX
from tltool.models.preprocessing import PREPROCESS

HEAD = "head"
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
_WHOLE = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten)


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of a network.

    Attributes:
        name: of the Keras layer.
        kind: its class, such as Conv2D.
        stage: its stage of the backbone, or ``head``.
        inputs: names of the layers that feed it.
        output: (height, width, channels), or (units,).
        kernel: height of its window, None without one.
        kernel_width: width of its window, None without one.
        stride: of the window.
        padding: zeros added along each axis, both ends together.
        dilation: of the window.
        receptive_field: side of the receptive field of an output position, pixels; it may exceed
            the image. Squeeze-and-excitation, which takes the whole image, is left out.
        jump: pixels of the image between two neighbouring output positions.
        parameters: number of weights, moving statistics included.
        multiply_adds: for one image; counted for convolutions and dense layers.
    """

    name: str
    kind: str
    stage: str
    inputs: tuple[str, ...]
    output: tuple[int, ...]
    kernel: int | None
    kernel_width: int | None
    stride: int
    padding: int
    dilation: int
    receptive_field: int
    jump: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, slots=True)
class _Window:
    kernel: int | None = None
    width: int | None = None
    stride: int = 1
    padding: int = 0
    dilation: int = 1


def output_side(
    n: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return floor((n + 2p - d(k - 1) - 1) / s) + 1, the number of window positions along one side.

    Args:
        n: side of the input.
        kernel: k, side of the window.
        stride: s.
        padding: 2p, zeros at both ends together.
        dilation: d.

    Reference: Dumoulin & Visin 2016, https://arxiv.org/abs/1603.07285
    """
    return (n + padding - dilation * (kernel - 1) - 1) // stride + 1


def receptive_field(field: int, jump: int, kernel: int, *, dilation: int = 1) -> int:
    """Return r + d(k - 1)j, the receptive field after a window.

    Args:
        field: r, the receptive field before the window, pixels of the image.
        jump: j, pixels of the image between two positions before the window.
        kernel: k, side of the window.
        dilation: d.

    Reference: Araujo et al. 2019, https://distill.pub/2019/computing-receptive-fields
    """
    return field + dilation * (kernel - 1) * jump


def layer_rows(model: keras.Model, backbone: Backbone) -> list[LayerRow]:
    """Return one row per layer after the preprocessing, in the order of computation.

    Args:
        model: what ``build.outline`` or ``build.build_model`` returns, for square images.
        backbone: its registry entry.
    """
    start = model.get_layer(PREPROCESS)
    side, channels = int(start.output.shape[1]), int(start.output.shape[3])
    rows = {start.name: _pixels(start.name, side, channels)}
    # a model of the user's own may compute with functions of keras.ops, which are no layers
    operations = model.operations
    names = {
        id(tensor): operation.name
        for operation in operations
        for tensor in keras.tree.flatten(operation.output)
    }
    stages = _stages(operations, backbone)
    for layer in operations[operations.index(start) + 1 :]:
        inputs = [names[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        rows[layer.name] = _row(layer, stages[layer.name], [rows[name] for name in inputs])
    return [row for row in rows.values() if row.name != start.name]


def _stages(operations: Sequence[keras.Operation], backbone: Backbone) -> Mapping[str, str]:
    """Return the stage of each layer, by the layer's name."""
    order = [operation.name for operation in operations]
    ends = [(order.index(stage.layer), stage.name) for stage in backbone.stages]
    return {
        name: HEAD
        if name.startswith(HEAD_PREFIX)
        else next(stage for end, stage in ends if position <= end)
        for position, name in enumerate(order)
        if name.startswith(HEAD_PREFIX) or position <= ends[-1][0]
    }


def _pixels(name: str, side: int, channels: int) -> LayerRow:
    return LayerRow(name, "", "", (), (side, side, channels), None, None, 1, 0, 1, 1, 1, 0, 0)


def _row(layer: keras.Operation, stage: str, inputs: Sequence[LayerRow]) -> LayerRow:
    gated = isinstance(layer, keras.layers.Multiply)  # squeeze-and-excitation: maps, then gates
    before = inputs[0] if gated else max(inputs, key=lambda row: row.receptive_field)
    window = _window(layer, before.output[0])
    output = _output(layer, window, before.output[0])
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        stage=stage,
        inputs=tuple(row.name for row in inputs),
        output=output,
        kernel=window.kernel,
        kernel_width=window.width,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
        receptive_field=receptive_field(
            before.receptive_field, before.jump, window.kernel or 1, dilation=window.dilation
        ),
        jump=before.jump * window.stride,
        parameters=sum(math.prod(weight.shape) for weight in _numbers(layer)),
        multiply_adds=_multiply_adds(layer, before.output, output),
    )


def _window(layer: keras.Operation, side: int) -> _Window:
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return _Window(padding=sum(layer.padding[0]))
    if isinstance(layer, keras.layers.Cropping2D):
        return _Window(padding=-sum(layer.cropping[0]))
    if isinstance(layer, _WHOLE):
        return _Window(side, side)
    if isinstance(layer, _CONVOLUTIONS):
        (kernel, width), dilation = layer.kernel_size, layer.dilation_rate[0]
    elif isinstance(layer, _POOLING):
        (kernel, width), dilation = layer.pool_size, 1
    else:
        return _Window()
    stride, padding = layer.strides[0], 0
    if layer.padding == "same":
        reach = (math.ceil(side / stride) - 1) * stride + dilation * (kernel - 1) + 1
        padding = max(reach - side, 0)
    return _Window(kernel, width, stride, padding, dilation)


def _output(layer: keras.Operation, window: _Window, side: int) -> tuple[int, ...]:
    shape = tuple(layer.output.shape[1:])
    if len(shape) == 1 or isinstance(layer, (*_WHOLE, keras.layers.Reshape)):
        return shape
    rows = output_side(
        side,
        window.kernel or 1,
        stride=window.stride,
        padding=window.padding,
        dilation=window.dilation,
    )
    return (rows, *shape[1:])


def _numbers(layer: keras.Operation) -> list[keras.Variable]:
    return [
        weight for weight in getattr(layer, "weights", ()) if "seed_generator" not in weight.path
    ]


def _multiply_adds(layer: keras.Operation, before: tuple[int, ...], output: tuple[int, ...]) -> int:
    if isinstance(layer, keras.layers.Dense):
        units: int = layer.units
        return math.prod(before) * units
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        work: int = math.prod(output) * math.prod(layer.kernel_size)
        return work
    if isinstance(layer, keras.layers.SeparableConv2D):
        window = math.prod(layer.kernel_size) * layer.depth_multiplier
        depthwise = math.prod(output[:2]) * before[-1] * window
        separable: int = depthwise + math.prod(output) * before[-1] * layer.depth_multiplier
        return separable
    if isinstance(layer, keras.layers.Conv2D):
        window = math.prod(layer.kernel_size) * before[-1] // layer.groups
        convolution: int = math.prod(output) * window
        return convolution
    return 0
