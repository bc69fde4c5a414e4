"""Pictures of architectures, heads, dropout and normalisation, computed by tltool's layers."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from drawn.sheet import BLUE, INK, MUTED, ORANGE, PALE, arrow, bare, box, label, save, sheet, show
from tltool.models.backbone_registry import OriginalHead, get_backbone
from tltool.models.build import build_model
from tltool.models.dropout import DropBlock
from tltool.models.head_parts import DropKind, DropoutSettings, HeadSettings, dense, drop
from tltool.models.heads import attach_head
from tltool.models.layer_table import output_side, receptive_field
from tltool.models.norms import norm_layer
from tltool.models.regularization_spec import RegularizationSpec
from tltool.workflows.backbones import backbone_layers, draw_layers

_CONV, _NORM, _RELU, _ADD = "#c9dbef", "#d9ead3", "#f6e3c5", "#ffffff"
_RATE = 0.4  # of dropout


def draw_networks() -> None:
    """Draw every picture of this module."""
    for name in ("alexnet", "vgg16", "resnet18"):
        _diagram(name)
    _windows()
    _fields()
    _blocks()
    _heads()
    _dropped()
    _squares()
    _depth()
    _norms()


def _diagram(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.png"
        draw_layers(path, backbone_layers(name))
        save(name, BytesIO(path.read_bytes()))


def _windows() -> None:
    """Windows of three positions over a row of seven pixels."""
    kinds = [(3, 1, 0, 1), (3, 2, 2, 1), (3, 1, 0, 2)]
    with sheet("windows", 1, 3, (10.2, 2.5)) as panels:
        for axes, (kernel, stride, padding, dilation) in zip(panels[0], kinds, strict=True):
            count = output_side(7, kernel, stride=stride, padding=padding, dilation=dilation)
            bare(axes, 9.4, 5.4)
            for place in range(7 + padding):
                pad = not padding // 2 <= place < 7 + padding // 2
                box(
                    axes, (place + 0.7, 4, 0.9, 0.9), "0" if pad else "", "#ffffff" if pad else PALE
                )
            for number in range(count):
                x = number * stride + 0.7 + dilation * (kernel - 1) / 2
                box(axes, (x, 1.5, 0.8, 0.8), "", _CONV)
                for step in range(kernel):
                    end = number * stride + step * dilation + 0.7
                    axes.plot([x, end], [1.95, 3.5], color=BLUE, linewidth=0.9)
            axes.set_title(
                f"k {kernel}, s {stride}, p {padding // 2}, d {dilation}: 7 become {count}"
            )


def _fields() -> None:
    """The receptive field of one position after three layers."""
    layers = [("image", 1, 1), ("3x3", 3, 1), ("3x3, stride 2", 3, 2), ("3x3", 3, 1)]
    size, field, jump, centres = 11, 1, 1, [np.arange(11.0)]
    fields = [1]
    for _, kernel, stride in layers[1:]:
        field, jump = receptive_field(field, jump, kernel), jump * stride
        fields.append(field)
        count = output_side(len(centres[-1]), kernel, stride=stride)
        centres.append(
            np.array([centres[-1][n * stride : n * stride + kernel].mean() for n in range(count)])
        )
    with sheet("receptive_field", 1, 1, (7.6, 3.4)) as panels:
        axes = panels[0, 0]
        bare(axes, size + 6.0, 6.6)
        seen = {len(centres[-1]) // 2}
        for depth in range(len(layers) - 1, -1, -1):
            y = 6.0 - 1.8 * depth
            for number, x in enumerate(centres[depth]):
                box(axes, (x + 0.8, y, 0.85, 0.6), "", ORANGE if number in seen else PALE)
            text = f"{layers[depth][0]}: field {fields[depth]}"
            axes.text(size + 1.0, y, text, va="center")
            if depth:
                _, kernel, stride = layers[depth]
                below = {n * stride + step for n in seen for step in range(kernel)}
                for number in seen:
                    for step in range(kernel):
                        ends = [centres[depth][number], centres[depth - 1][number * stride + step]]
                        axes.plot(
                            np.array(ends) + 0.8, [y + 0.3, y + 1.5], color=MUTED, linewidth=0.8
                        )
                seen = below


_BLOCKS = {
    "basic block\nresnet18, resnet34": ["3x3", "norm", "ReLU", "3x3", "norm", "+", "ReLU"],
    "bottleneck\nresnet50 to resnet152": [
        "1x1", "norm", "ReLU", "3x3", "norm", "ReLU", "1x1, 4 x as wide", "norm", "+", "ReLU",
    ],
    "pre-activation\nresnet50v2 to resnet152v2": [
        "norm", "ReLU", "1x1", "norm", "ReLU", "3x3", "norm", "ReLU", "1x1, 4 x as wide", "+",
    ],
}  # fmt: skip


def _blocks() -> None:
    colours = {"norm": _NORM, "ReLU": _RELU, "+": _ADD}
    with sheet("residual_blocks", 1, 3, (7.8, 5.6)) as panels:
        for axes, (title, parts) in zip(panels[0], _BLOCKS.items(), strict=True):
            bare(axes, 5, 11.6)
            axes.set_title(title)
            axes.plot([1.6, 1.6, 4.4, 4.4], [0.1, 0.4, 0.4, parts.index("+") + 1], color=INK, lw=1)
            arrow(axes, (4.4, parts.index("+") + 1), (1.9, parts.index("+") + 1))
            for place, part in enumerate(parts, start=1):
                arrow(axes, (1.6, place - 0.65 if place > 1 else 0.1), (1.6, place - 0.32))
                width = 0.6 if part == "+" else 2.9
                box(axes, (1.6, place, width, 0.62), part, colours.get(part, _CONV))
            arrow(axes, (1.6, len(parts) + 0.32), (1.6, len(parts) + 0.9))


def _heads() -> None:
    """Gradient of a class logit with respect to each position of a feature map."""
    y, x = np.mgrid[0:7, 0:7]
    spots = [(2, 2), (4, 5), (5, 1)]
    maps = np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2.5) for a, b in spots], axis=-1)
    maps = (3 * maps[np.newaxis]).astype(np.float32)
    with sheet("heads", 1, 7, (10.6, 2.0)) as panels:
        show(panels[0, 0], maps[0].mean(axis=-1), "the feature map", cmap="Greys", vmin=0)
        kinds = ("gap", "gap_conv", "gap_max", "mlp", "flatten", "attention")
        for axes, kind in zip(panels[0, 1:], kinds, strict=True):
            features = keras.Input(maps.shape[1:])
            logits = attach_head(
                features, kind=kind, classes=2, dropout=0.0, hidden_units=32, norm="none", seed=4,
                original=OriginalHead(),
            )  # fmt: skip
            model, inputs = keras.Model(features, logits), tf.constant(maps)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                logit = model(inputs)[:, 0]
            slopes = np.abs(tape.gradient(logit, inputs).numpy()[0]).sum(axis=-1)
            show(axes, slopes / slopes.max(), kind, cmap="Blues", vmin=0, vmax=1.3)


def _settings(kind: DropKind) -> HeadSettings:
    return HeadSettings(
        16, _RATE, 16, "none", 3, OriginalHead(), DropoutSettings(kind), None, standardize=False
    )


def _dropped() -> None:
    """Dropout variants applied to ones; alpha dropout to standard normal numbers."""
    images, units = 12, 16
    ones, maps = np.ones((images, units)), np.ones((1, 7, 7, 16))
    normal = np.random.default_rng(0).standard_normal((images, units))
    blue = {"cmap": "Blues", "vmin": 0, "vmax": 2.4}
    both = {"cmap": "RdBu", "vmin": -2.6, "vmax": 2.6}
    drawn = [
        ("dropout: activations", _after("dropout", ones), blue),
        ("gaussian: noise around 1", _after("gaussian", ones), blue),
        ("alpha: to the minimum of SELU", _after("alpha", normal), both),
        ("dropconnect: weights", _connected(images, units), blue),
        ("dropout on 16 maps", _tiles(_after("dropout", maps)), blue),
        ("spatial: whole maps", _tiles(_after("spatial", maps)), blue),
        ("attention dropout", _attended(images, units), blue),
        ("all of them in inference", _after("dropout", ones, training=False), blue),
    ]
    with sheet("dropout_family", 2, 4, (10.0, 4.6)) as panels:
        for axes, (title, values, how) in zip(panels.flat, drawn, strict=True):
            show(axes, values, title, aspect="auto", **how)
            axes.set_xlabel(f"mean {np.nanmean(values):.2f}")


def _connected(inputs: int, units: int) -> np.ndarray:
    """Return a kernel of ones after DropConnect."""
    one_hot = keras.Input((inputs,))
    layer = dense(
        units, _settings("dropconnect"), name="d", kernel_initializer="ones", use_bias=False
    )
    return np.asarray(keras.Model(one_hot, layer(one_hot))(np.eye(inputs), training=True))


def _attended(images: int, positions: int) -> np.ndarray:
    """Return attention weights after dropout, times the number of positions."""
    features = keras.Input((positions, 1, 8))
    logits = attach_head(
        features, kind="attention", classes=2, dropout=0.0, hidden_units=1, norm="none", seed=4,
        original=OriginalHead(), dropout_settings=DropoutSettings(attention=_RATE),
    )  # fmt: skip
    dropped = keras.Model(features, logits).get_layer("head_attention_dropout").output
    inputs = 0.6 * np.random.default_rng(1).standard_normal((images, positions, 1, 8))
    weights = keras.Model(features, dropped)(inputs.astype(np.float32), training=True)
    return positions * np.asarray(weights)[:, 0]


def _after(kind: DropKind, values: np.ndarray, *, training: bool = True) -> np.ndarray:
    entry = keras.Input(values.shape[1:])
    model = keras.Model(entry, drop(entry, _settings(kind)))
    return np.asarray(model(values.astype(np.float32), training=training))


def _tiles(maps: np.ndarray) -> np.ndarray:
    """Return 16 maps [1, 7, 7, 16] as a grid with gaps of NaN."""
    framed = np.pad(maps[0], ((0, 1), (0, 1), (0, 0)), constant_values=np.nan)
    grid = framed.reshape(8, 8, 4, 4).transpose(2, 0, 3, 1).reshape(32, 32)
    return grid[:-1, :-1]


def _squares() -> None:
    ones = np.ones((1, 28, 28, 1), np.float32)
    with sheet("drop_block", 1, 4, (8.4, 2.5)) as panels:
        for axes, size in zip(panels[0], (1, 3, 5, 7), strict=True):
            kept = np.asarray(DropBlock(0.3, size, seed=1)(ones, training=True))[0, :, :, 0]
            show(axes, kept, f"rate 0.3, size {size}", cmap="Blues", vmin=0, vmax=2)
            axes.set_xlabel(f"{(kept == 0).mean():.0%} dropped, mean {kept.mean():.2f}")


def _depth() -> None:
    """Skip probabilities of a ResNet-18, and the blocks that twenty images skip."""
    network = build_model(
        get_backbone("resnet18"), image_size=(64, 64), classes=2, head="gap", dropout=0.0,
        hidden_units=1, norm="none", weights=None, seed=0,
        regularization=RegularizationSpec(stochastic_depth=0.5),
    )  # fmt: skip
    paths = [layer for layer in network.layers if type(layer).__name__ == "DropPath"]
    ones, blocks = np.ones((20, 1, 1, 1), np.float32), np.arange(1, len(paths) + 1)
    kept = np.array([np.asarray(layer(ones, training=True)).ravel() for layer in paths])
    with sheet("stochastic_depth", 1, 2, (8.6, 3.0)) as panels:
        panels[0, 0].bar(blocks, [layer.rate for layer in paths], color=BLUE)
        label(panels[0, 0], "stochastic_depth 0.5", "residual block", "skipped with probability")
        panels[0, 1].imshow(kept, cmap="Blues", vmin=0, vmax=2.4, aspect="auto")
        panels[0, 1].set(yticks=range(len(paths)), yticklabels=blocks, xticks=[])
        label(panels[0, 1], "white: skipped", "twenty images of a batch", "residual block")
        panels[0, 1].grid(visible=False)


def _norms() -> None:
    """The activations used to normalise one of them: where its gradient is not zero."""
    shape = (4, 3, 3, 6)
    inputs = tf.constant(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    names = ("batch", "layer", "instance", "group")
    with sheet("norms", 1, 4, (10.6, 3.2), projection="3d") as panels:
        for axes, name in zip(panels[0], names, strict=True):
            layer = norm_layer(name, name, shape[-1], groups=2)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                one = layer(inputs, training=True)[0, 2, 2, 5]
            used = np.abs(tape.gradient(one, inputs).numpy()).reshape(4, 9, 6) > 0
            cube = used.transpose(2, 0, 1)  # channels, images, positions
            colours = np.where(cube, BLUE, "#f3f4f6")
            colours[5, 0, 8] = ORANGE
            axes.voxels(
                np.ones(cube.shape, bool),
                facecolors=colours,
                shade=False,
                edgecolor=MUTED,
                linewidth=0.3,
            )
            axes.set(xticks=[], yticks=[], zticks=[], title=name)
            axes.set_xlabel("channels", labelpad=-14)
            axes.set_ylabel("images", labelpad=-14)
            axes.set_zlabel("positions", labelpad=-14)
            axes.set_box_aspect((1, 0.8, 1.2))
