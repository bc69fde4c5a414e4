"""Every network of the registry without weights: published sizes, the table of layers, Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import pytest

from tests.conftest import by_cost
from tests.models.families import WALKED
from tltool.models.backbone_registry import BACKBONES, Backbone, get_backbone
from tltool.models.build import outline
from tltool.models.layer_table import LayerRow, layer_rows
from tltool.weights.keras_files import KERAS_FILES

BY_KERAS = [row[0] for row in KERAS_FILES]
LITE = ("efficientnet_lite1", "efficientnet_lite2")
# built like smaller ones of their family
LARGE = ("resnet101", "resnet152", "resnet101v2", "resnet152v2", *LITE)
# squeeze-and-excitation, layer normalisation, 1x7 and separable convolutions
PECULIAR = ("mobilenet", "mobilenet_v3_small", "convnext_tiny", "inception_v3", "xception")
EVERY = list(BACKBONES)
SMALL = [*(name for name in EVERY if name not in (*LARGE, *BY_KERAS)), *PECULIAR]
FEW = ("vgg16", "resnet18", "mobilenet_v3_small")
# at the size it was made for: features; parameters with the head and the classes of its paper
PINNED = {
    "vgg16": ((7, 7, 512), 138_357_544),  # this and the next seven as in keras.applications
    "vgg19": ((7, 7, 512), 143_667_240),
    "resnet50": ((7, 7, 2048), 25_636_712),
    "resnet101": ((7, 7, 2048), 44_707_176),
    "resnet152": ((7, 7, 2048), 60_419_944),
    "resnet50v2": ((7, 7, 2048), 25_613_800),
    "resnet101v2": ((7, 7, 2048), 44_675_560),
    "resnet152v2": ((7, 7, 2048), 60_380_648),
    "resnet18": ((7, 7, 512), 11_689_512 + 9_600),  # torchvision, and the moving statistics
    "resnet34": ((7, 7, 512), 21_797_672 + 17_024),
    # as in the published checkpoints, moving statistics included, counters left out
    "efficientnet_lite0": ((7, 7, 1280), 4_694_024),
    "efficientnet_lite1": ((8, 8, 1280), 5_470_344),
    "efficientnet_lite2": ((9, 9, 1280), 6_150_168),
    # keras.applications, without the seven numbers that scale EfficientNet's pixels
    "efficientnet_b0": ((7, 7, 1280), 5_330_564),
    "efficientnet_b1": ((8, 8, 1280), 7_856_232),
    "efficientnet_b2": ((9, 9, 1408), 9_177_562),
    "efficientnet_b3": ((10, 10, 1536), 12_320_528),
    "efficientnet_b4": ((12, 12, 1792), 19_466_816),
    "efficientnet_b5": ((15, 15, 2048), 30_562_520),
    "efficientnet_b6": ((17, 17, 2304), 43_265_136),
    "efficientnet_b7": ((19, 19, 2560), 66_658_680),
    "efficientnet_v2_b0": ((7, 7, 1280), 7_200_312),
    "efficientnet_v2_b1": ((8, 8, 1280), 8_212_124),
    "efficientnet_v2_b2": ((9, 9, 1408), 10_178_374),
    "efficientnet_v2_b3": ((10, 10, 1536), 14_467_622),
    "efficientnet_v2_s": ((12, 12, 1280), 21_612_360),
    "efficientnet_v2_m": ((15, 15, 1280), 54_431_388),
    "efficientnet_v2_l": ((15, 15, 1280), 119_027_848),
    "mobilenet": ((7, 7, 1024), 4_253_864),
    "mobilenet_v2": ((7, 7, 1280), 3_538_984),
    "mobilenet_v3_small": ((7, 7, 576), 2_554_968),
    "mobilenet_v3_large": ((7, 7, 960), 5_507_432),
    "nasnet_mobile": ((7, 7, 1056), 5_326_716),
    "nasnet_large": ((11, 11, 4032), 88_949_818),
    "densenet121": ((7, 7, 1024), 8_062_504),
    "densenet169": ((7, 7, 1664), 14_307_880),
    "densenet201": ((7, 7, 1920), 20_242_984),
    "inception_v3": ((8, 8, 2048), 23_851_784),
    "inception_resnet_v2": ((8, 8, 1536), 55_873_736),
    "xception": ((10, 10, 2048), 22_910_480),
    "convnext_tiny": ((7, 7, 768), 28_589_128),
    "convnext_small": ((7, 7, 768), 50_223_688),
    "convnext_base": ((7, 7, 1024), 88_591_464),
    "convnext_large": ((7, 7, 1536), 197_767_336),
    "convnext_xlarge": ((7, 7, 2048), 350_196_968),
    "alexnet": ((6, 6, 256), 61_100_840),  # torchvision
    "lenet5": ((5, 5, 16), 61_706),
    "digits_cnn": ((7, 7, 16), 205_306),
    "tiny_vgg": ((4, 4, 32), 14_394),
    "tiny_resnet": ((4, 4, 64), 78_514),
}


@pytest.fixture(autouse=True)
def _forget_outlines() -> Iterator[None]:
    """Keras would draw the weights of outlines as soon as the next test builds a model."""
    yield
    keras.backend.clear_session()


# one test per network, so that each is built once for each size
@pytest.mark.parametrize("name", by_cost(EVERY, *FEW, thorough=(*SMALL, *WALKED, *LITE)))
def test_the_registry_and_the_table_are_true_to_the_network(name: str) -> None:
    backbone = get_backbone(name)
    own = outline(backbone, (backbone.image_size,) * 2)
    rows = layer_rows(own, backbone)
    shape, parameters = PINNED[name]
    assert tuple(own.get_layer(backbone.stages[-1].layer).output.shape[1:]) == shape
    assert own.count_params() == parameters
    assert tuple(own.output.shape) == (None, backbone.head.classes)
    inside = [row for row in rows if row.stage != "head"]
    assert sum(row.multiply_adds for row in inside) == backbone.multiply_adds
    check_rows(own, rows)
    check_stages(own, backbone, backbone.image_size, rows)
    odd = (backbone.min_size + 5) | 1
    smaller = outline(backbone, (odd, odd))
    rows = layer_rows(smaller, backbone)
    check_rows(smaller, rows)
    check_stages(smaller, backbone, odd, rows)


def check_rows(model: keras.Model, rows: list[LayerRow]) -> None:
    assert len(rows) == len(model.layers) - 2, "all but the input and the preprocessing"
    for row in rows:
        layer = model.get_layer(row.name)
        assert row.output == tuple(layer.output.shape[1:]), row
        assert row.parameters == layer.count_params(), row


def check_stages(model: keras.Model, backbone: Backbone, side: int, table: list[LayerRow]) -> None:
    """Sides of maps, strides, channels and norms of the registry."""
    ends = [model.get_layer(stage.layer) for stage in backbone.stages]
    assert [int(end.output.shape[1]) for end in ends] == backbone.sides(side)
    by_name = {row.name: row for row in table}
    for stage, end in zip(backbone.stages, ends, strict=True):
        assert (by_name[stage.layer].jump, end.output.shape[-1]) == (stage.stride, stage.channels)
    rows = [row for row in table if row.stage != "head"]
    kind = "Add" if backbone.residual else "Conv2D"
    maps = [row.output[0] for row in rows if row.kind == kind]
    assert maps[-1] == min(maps) == backbone.smallest_maps(side)
    sums = any(row.kind == "Add" for row in rows)
    assert backbone.residual == (sums and backbone.family != "nasnet"), "its cells add branches"
    norms = [row.output[-1] for row in rows if row.kind == "BatchNormalization"]
    assert math.gcd(*norms) == backbone.norm_channels
