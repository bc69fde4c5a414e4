"""The table of layers: the lectures' formulas, and what Keras and gradients say of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model, outline
from tltool.models.layer_folds import fold_rows, window_text
from tltool.models.layer_table import LayerRow, layer_rows, output_side, receptive_field


@pytest.fixture(autouse=True, scope="module")
def _forget_outlines() -> Iterator[None]:
    """Keras would draw the weights of outlines as soon as the next test builds a model."""
    yield
    outlined.cache_clear()
    keras.backend.clear_session()


@functools.cache
def outlined(name: str, side: int) -> keras.Model:
    return outline(get_backbone(name), (side, side))


def rows_of(name: str, size: int | None = None) -> list[LayerRow]:
    backbone = get_backbone(name)
    return layer_rows(outlined(name, size or backbone.image_size), backbone)


def total(name: str, key: str) -> int:
    return sum(getattr(row, key) for row in rows_of(name))


@pytest.mark.parametrize(
    ("n", "kernel", "how", "side"),
    [
        (32, 5, {}, 28),
        (28, 2, {"stride": 2}, 14),
        (227, 11, {"stride": 4}, 55),
        (224, 11, {"stride": 4, "padding": 4}, 55),
        (224, 7, {"stride": 2, "padding": 6}, 112),
        (56, 3, {"padding": 2}, 56),
        (32, 3, {"dilation": 2}, 28),
    ],
)
def test_a_window_has_the_places_of_the_formula(n, kernel, how, side):
    assert output_side(n, kernel, **how) == side


def test_a_receptive_field_grows_by_jumps():
    assert receptive_field(1, 1, 5) == 5
    assert receptive_field(6, 2, 5) == 14
    assert receptive_field(5, 1, 3, dilation=2) == 9


# Of the papers and of the usual counters; VGG16: 15.5 G, ResNet-50: 3.8 G (He et al. 2016, table 1)
@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("lenet5", 416_520),
        ("alexnet", 714_188_480),
        ("vgg16", 15_470_264_320),
        ("resnet18", 1_814_073_344),
        ("resnet50", 3_857_973_248),
        ("mobilenet_v3_small", 56_510_400),  # 56 M in the paper
    ],
)
def test_multiply_adds_are_the_known_ones(name, work):
    assert total(name, "multiply_adds") == work


def test_equal_blocks_with_squeeze_and_excitation_are_one_line():
    folds = {fold.label: fold for fold in fold_rows(rows_of("mobilenet_v3_small"))}
    assert folds["block3 block 2-3"].windows == "1x1 5x5 1x1", "the gates are no window on the way"


def test_a_window_that_is_not_square_has_both_sides():
    rows = {row.name: row for row in rows_of("inception_v3")}
    wide = [row for row in rows.values() if (row.kernel, row.kernel_width) == (1, 7)]
    assert wide and window_text(wide[0]) == "1x7"


@pytest.mark.parametrize(
    ("name", "layer", "field"),
    [
        ("lenet5", "conv2_pool", 16),
        ("alexnet", "conv5_pool", 195),
        ("vgg16", "block5_pool", 212),
        ("resnet50", "conv5_block3_out", 483),
        ("resnet101", "conv5_block3_out", 1027),
        ("resnet152", "conv5_block3_out", 1507),
    ],
)
def test_receptive_fields_are_the_known_ones(name, layer, field):
    assert {row.name: row for row in rows_of(name)}[layer].receptive_field == field


def test_lenet5_has_the_shapes_of_the_paper():
    sides = [row.output[0] for row in rows_of("lenet5") if len(row.output) == 3]
    assert sides == [28, 14, 10, 5]
    units = [row.output[0] for row in rows_of("lenet5") if row.kind == "Dense"]
    assert units == [120, 84, 10]
    assert total("lenet5", "parameters") == 61_706


def test_alexnet_has_eight_layers_with_weights():
    rows = [row for row in rows_of("alexnet") if row.parameters]
    assert [row.kind for row in rows] == ["Conv2D"] * 5 + ["Dense"] * 3
    assert (rows[0].kernel, rows[0].stride, rows[0].output) == (11, 4, (55, 55, 64))


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [
        ("lenet5", "conv2_pool", 44),
        ("tiny_vgg", "block3_pool", 64),
        ("alexnet", "conv2_pool", 131),
        ("tiny_resnet", "block2_out", 64),
    ],
)
def test_one_position_sees_exactly_its_receptive_field(name, layer, size):
    """The gradient of one position is zero outside the field and reaches all its sides."""
    backbone = get_backbone(name)
    options = {"classes": 2, "head": "gap", "dropout": 0.0, "hidden_units": 0, "norm": "none"}
    model = build_model(backbone, image_size=(size, size), weights=None, seed=0, **options)
    row = next(row for row in layer_rows(model, backbone) if row.name == layer)
    part = keras.Model(model.input, model.get_layer(layer).output)
    middle = row.output[0] // 2

    @tf.function  # a graph leaves out the gradients of the kernels
    def gradient(images: tf.Tensor) -> tf.Tensor:
        return tf.gradients(part(images)[:, middle, middle] ** 2, images)[0]

    reached = np.zeros(size, bool)
    for seed in range(8):  # a dead ReLU, or the loser of a maximum, hides an edge of the field
        images = np.random.default_rng(seed).uniform(0, 255, (1, size, size, 3)).astype("float32")
        reached |= np.abs(gradient(tf.constant(images))).sum(axis=(0, 2, 3)) > 0
    assert np.ptp(np.flatnonzero(reached)) + 1 == row.receptive_field


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "resnet152", "resnet50v2", "tiny_resnet"])
def test_the_short_table_holds_everything(name):
    rows = rows_of(name)
    folds = fold_rows(rows)
    assert len(folds) <= 24
    for key in ("parameters", "multiply_adds"):
        assert sum(getattr(f, key) for f in folds) == sum(getattr(row, key) for row in rows)
    assert folds[-1].output == rows[-1].output


def test_equal_blocks_of_a_stage_are_one_line():
    folds = {fold.label: fold for fold in fold_rows(rows_of("resnet152"))}
    assert list(folds)[2:5] == ["conv2 block 1", "conv2 block 2-3", "conv3 block 1"]
    many = folds["conv4 block 2-36"]
    assert (many.blocks, many.windows, many.output) == (35, "1x1 3x3 1x1", (14, 14, 1024))
    assert folds["conv3 block 1"].windows == "1x1/2 3x3 1x1", "the shortcut is no window on the way"
