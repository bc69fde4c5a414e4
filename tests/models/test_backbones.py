"""The registry is literal, complete and true to the networks it names."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from tests.conftest import unless_thorough
from tests.models.families import WALKED
from tltool.errors import UsageError
from tltool.evaluation.explain.saliency import Explainer
from tltool.models.backbone_registry import BACKBONES, Backbone, get_backbone, listed_backbones
from tltool.models.build import build_model, outline
from tltool.models.layer_table import layer_rows
from tltool.models.network_parts import Network
from tltool.weights.keras_files import KERAS_FILES
from tltool.weights.published import PUBLISHED

LITE = ("efficientnet_lite1", "efficientnet_lite2")
# built like smaller ones of their family
LARGE = ("resnet101", "resnet152", "resnet101v2", "resnet152v2", *LITE)
BY_KERAS = [row[0] for row in KERAS_FILES]
PECULIAR = ("mobilenet", "mobilenet_v3_small", "convnext_tiny", "inception_v3", "xception")
# small, and yet with more than one position at the end
SIZES = {"alexnet": 99, "inception_v3": 111, "inception_resnet_v2": 111, "xception": 71}
CHAOTIC = {"efficientnet_v2_s"}  # with random weights it amplifies rounding a million times
EVERY = list(BACKBONES)
SMALL = [*(name for name in EVERY if name not in (*LARGE, *BY_KERAS)), *PECULIAR]
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


@functools.lru_cache(maxsize=1)
def classifier(name: str) -> keras.Model:
    return build_model(
        get_backbone(name),
        image_size=(size_of(name),) * 2,
        classes=3,
        head="gap",
        dropout=0.2,
        hidden_units=0,
        norm="none",
        weights=None,
        seed=0,
    )


@functools.cache
def outlined(name: str, side: int) -> keras.Model:
    return outline(get_backbone(name), (side, side))


def size_of(name: str) -> int:
    return SIZES.get(name, 64)


@pytest.fixture(autouse=True, scope="module")
def _forget_outlines() -> Iterator[None]:
    """Keras would draw the weights of outlines as soon as the next test builds a model."""
    yield
    outlined.cache_clear()
    keras.backend.clear_session()


def images(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")


@pytest.mark.parametrize("name", unless_thorough(EVERY, *SMALL))
def test_shape_and_parameters_are_those_published(name: str) -> None:
    backbone = get_backbone(name)
    shape, parameters = PINNED[name]
    model = outlined(name, backbone.image_size)
    end = model.get_layer(backbone.stages[-1].layer)
    assert tuple(end.output.shape[1:]) == shape
    assert model.count_params() == parameters
    assert tuple(model.output.shape) == (None, backbone.head.classes)


# one test per backbone, so that each is built once
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    unless_thorough(
        [name for name in EVERY if name not in BY_KERAS or name in {*WALKED} - CHAOTIC],
        *("lenet5", "vgg16", "resnet18", "resnet50v2", "efficientnet_lite0"),
    ),
)
def test_every_entry_is_correct_and_can_be_cut_at_every_stage(name: str) -> None:
    backbone, model, x = get_backbone(name), classifier(name), images(size_of(name))
    inside = [layer for layer in model.layers if not layer.name.startswith("head_")]
    assert sum(layer.count_params() for layer in inside) == backbone.parameters
    logits = np.asarray(model(x, training=False))
    rows = {row.name: row for row in layer_rows(model, backbone)}
    for stage in backbone.stages:
        output = model.get_layer(stage.layer).output
        assert tuple(output.shape[1:]) == rows[stage.layer].output
        assert (rows[stage.layer].jump, output.shape[-1]) == (stage.stride, stage.channels)
        check_cut(model, backbone, stage.name, x, logits)
    check_explained(Network(model, backbone, "gap"), x, logits)


def check_cut(
    model: keras.Model, backbone: Backbone, stage: str, x: np.ndarray, logits: np.ndarray
) -> None:
    if backbone.previous(stage) is None:
        return
    cut = Network(model, backbone, "gap").cut(stage)
    trunk, tail = keras.Model(model.input, cut), keras.Model(cut, model.output)
    activation = trunk(x, training=False)
    np.testing.assert_array_equal(np.asarray(tail(activation, training=False)), logits)


def check_explained(network: Network, x: np.ndarray, logits: np.ndarray) -> None:
    found = Explainer(network, "grad-cam++")(x, [0, 2])
    assert min(found.maps.shape[1:]) > 1, "Grad-CAM needs positions"
    assert found.maps.max() == 1
    np.testing.assert_allclose(found.logits, logits, rtol=1e-3)


@pytest.mark.parametrize("name", unless_thorough(EVERY, *SMALL))
def test_sides_of_maps_and_norms_are_those_of_the_network(name: str) -> None:
    backbone = get_backbone(name)
    for side in (backbone.image_size, backbone.min_size + 5):
        model = outlined(name, side)
        ends = [model.get_layer(stage.layer) for stage in backbone.stages]
        assert [int(end.output.shape[1]) for end in ends] == backbone.sides(side)
        rows = [row for row in layer_rows(model, backbone) if row.stage != "head"]
        kind = "Add" if backbone.residual else "Conv2D"
        maps = [row.output[0] for row in rows if row.kind == kind]
        assert maps[-1] == min(maps) == backbone.smallest_maps(side)
        sums = any(row.kind == "Add" for row in rows)
        assert backbone.residual == (sums and backbone.family != "nasnet"), "its cells add branches"
        norms = [row.output[-1] for row in rows if row.kind == "BatchNormalization"]
        assert math.gcd(*norms) == backbone.norm_channels


def test_tests_nets_are_not_listed() -> None:
    assert [b.name for b in listed_backbones() if b.licence] == list(PUBLISHED)
    assert len(listed_backbones(include_test=True)) == len(BACKBONES)


def test_the_registry_is_read_without_tensorflow() -> None:
    code = (
        "import sys, tltool.models.backbone_registry\n"
        "import tltool.weights.fetch_weights, tltool.weights.load_weights\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_backbone_asks_did_you_mean() -> None:
    with pytest.raises(UsageError, match="Did you mean 'resnet50'") as caught:
        get_backbone("ResNet-50")
    assert "tltool backbones list" in str(caught.value.hint)


def test_an_unknown_stage_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"vgg16 has no stage 'blok5'\. Did you mean") as caught:
        get_backbone("vgg16").stage("blok5")
    assert "block1, block2" in str(caught.value.hint)


def test_the_cut_lies_before_the_stage_that_is_unfrozen() -> None:
    before = get_backbone("vgg16").previous("block5")
    assert before is not None
    assert (before.layer, before.stride, before.channels) == ("block4_pool", 16, 512)
    assert get_backbone("vgg16").previous("block1") is None
