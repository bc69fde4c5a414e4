"""The registry of backbones: one literal entry each, readable without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from tltool.errors import UsageError, did_you_mean
from tltool.models.backbone import (
    HEAD_ONLY,
    WHOLE_NET,
    Backbone,
    Family,
    OriginalHead,
    PreprocessMode,
    Stage,
)
from tltool.models.efficientnet_entries import EFFICIENTNETS
from tltool.models.inception_entries import INCEPTION_TO_CONVNEXT
from tltool.models.mobile_entries import MOBILE_NETWORKS
from tltool.models.multiply_adds import MULTIPLY_ADDS

__all__ = [
    "BACKBONES",
    "HEAD_ONLY",
    "WHOLE_NET",
    "Backbone",
    "OriginalHead",
    "PreprocessMode",
    "Stage",
    "get_backbone",
    "listed_backbones",
]

_LENET_PAPER = "LeCun et al. 1998, https://doi.org/10.1109/5.726791"
_ALEXNET_PAPER = "Krizhevsky 2014, https://arxiv.org/abs/1404.5997"
_VGG_PAPER = "Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556"
_RESNET_PAPER = "He et al. 2016, https://arxiv.org/abs/1512.03385"
_EFFICIENTNET_PAPER = "Tan & Le 2019, https://arxiv.org/abs/1905.11946"
_RESNET_V2_PAPER = "He et al. 2016, https://arxiv.org/abs/1603.05027"


_CONV_POOL = ((3, 1, 1), (2, 2, 0))
_RESNET_STEM = ((7, 2, 3), (3, 2, 1))
_SAME, _HALF = ((3, 1, 1),), ((3, 2, 1),)


def _vgg(name: str, builder: str, parameters: int) -> Backbone:
    channels = (64, 128, 256, 512, 512)
    stages = tuple(
        Stage(f"block{n}", f"block{n}_pool", 2**n, width, _CONV_POOL)
        for n, width in enumerate(channels, start=1)
    )
    return Backbone(
        name,
        "vgg",
        builder,
        224,
        "caffe",
        stages,
        parameters,
        "CC BY 4.0",
        _VGG_PAPER,
        head=OriginalHead((4096, 4096), dropout=0.5),
    )


def _residual(
    name: str,
    family: Family,
    builder: str,
    preprocessing: PreprocessMode,
    stages: list[Stage],
    parameters: int,
    licence: str,
    paper: str,
) -> Backbone:
    return Backbone(
        name,
        family,
        builder,
        224,
        preprocessing,
        tuple(stages),
        parameters,
        licence,
        paper,
        residual=True,
        norm_channels=64,
    )


def _resnet(name: str, builder: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    stages = [Stage("conv1", "pool1_pool", 4, 64, _RESNET_STEM)]
    for n, count in enumerate(blocks, start=2):
        windows = _HALF if n > 2 else _SAME
        stages.append(Stage(f"conv{n}", f"conv{n}_block{count}_out", 2**n, 64 * 2**n, windows))
    return _residual(name, "resnet", builder, "caffe", stages, parameters, "MIT", _RESNET_PAPER)


def _resnet_v2(name: str, builder: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    # V2 halves the resolution in a stage's last block, and conv5 only ends after post_relu.
    stages = [Stage("conv1", "pool1_pool", 4, 64, _RESNET_STEM)]
    for n, count in enumerate(blocks[:3], start=2):
        layer = f"conv{n}_block{count}_out"
        stages.append(Stage(f"conv{n}", layer, 2 ** (n + 1), 64 * 2**n, _HALF))
    stages.append(Stage("conv5", "post_relu", 32, 2048, _SAME))
    return _residual(name, "resnet_v2", builder, "tf", stages, parameters, "MIT", _RESNET_V2_PAPER)


def _basic_resnet(name: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    stages = [Stage("conv1", "maxpool", 4, 64, _RESNET_STEM)]
    for n, count in enumerate(blocks, start=1):
        layer, windows = f"layer{n}_{count - 1}_out", _HALF if n > 1 else _SAME
        stages.append(Stage(f"conv{n + 1}", layer, 2 ** (n + 1), 32 * 2**n, windows))
    return _residual(
        name, "resnet", name, "torch", stages, parameters, "BSD-3-Clause", _RESNET_PAPER
    )


def _efficientnet_lite(
    variant: int, image_size: int, channels: tuple[int, ...], parameters: int
) -> Backbone:
    # The layer that ends each stage; blocks 3 and 4 of the paper have one resolution.
    ends = ("0_0_bn2", "1_{0}_add", "2_{0}_add", "3_{1}_add", "4_{1}_add", "5_{2}_add")
    repeats = ((1, 1, 2, 3), (2, 2, 3, 4), (2, 2, 3, 4))[variant][1:]
    windows = (_HALF, _HALF, ((5, 2, 2),), _HALF, ((5, 1, 2),), ((5, 2, 2),), _SAME)
    strides = (2, 4, 8, 16, 16, 32, 32)
    layers = [f"blocks_{end.format(*repeats)}" for end in ends] + ["top"]
    stages = tuple(
        Stage(f"block{n}", layer, stride, width, window)
        for n, (layer, stride, width, window) in enumerate(
            zip(layers, strides, (*channels, 1280), windows, strict=True), start=1
        )
    )
    return Backbone(
        f"efficientnet_lite{variant}",
        "efficientnet_lite",
        f"efficientnet_lite{variant}",
        image_size,
        "lite",
        stages,
        parameters,
        "Apache-2.0",
        _EFFICIENTNET_PAPER,
        residual=True,
        norm_channels=8,
    )


def _classic(
    name: str,
    image_size: int,
    preprocessing: PreprocessMode,
    stages: tuple[Stage, ...],
    parameters: int,
    paper: str,
    min_size: int,
    head: OriginalHead,
) -> Backbone:
    return Backbone(
        name,
        "classic",
        name,
        image_size,
        preprocessing,
        stages,
        parameters,
        "",
        paper,
        min_size,
        head,
    )


def _lenet5() -> Backbone:
    windows = ((5, 1, 0), (2, 2, 0))
    stages = (
        Stage("conv1", "conv1_pool", 2, 6, windows),
        Stage("conv2", "conv2_pool", 4, 16, windows),
    )
    head = OriginalHead((120, 84), activation="tanh", classes=10)
    return _classic("lenet5", 32, "grey", stages, 2_572, _LENET_PAPER, 16, head)


def _alexnet() -> Backbone:
    pool = (3, 2, 0)
    shapes = (
        (8, 64, ((11, 4, 2), pool)),
        (16, 192, ((5, 1, 2), pool)),
        (16, 384, _SAME),
        (16, 256, _SAME),
        (32, 256, (*_SAME, pool)),
    )
    stages = tuple(
        Stage(f"conv{n}", f"conv{n}_{'pool' if pool in windows else 'conv'}", step, width, windows)
        for n, (step, width, windows) in enumerate(shapes, start=1)
    )
    head = OriginalHead((4096, 4096), dropout=0.5)
    return _classic("alexnet", 224, "torch", stages, 2_469_696, _ALEXNET_PAPER, 63, head)


def _digits_cnn() -> Backbone:
    stages = (
        Stage("conv1", "conv1_drop", 2, 8, ((5, 1, 2), (2, 2, 0))),
        Stage("conv2", "conv2_drop", 4, 16, _CONV_POOL),
    )
    head = OriginalHead((256,), dropout=0.5, classes=10)
    return _classic("digits_cnn", 28, "unit", stages, 1_776, f"after {_LENET_PAPER}", 8, head)


def _tiny(
    name: str,
    preprocessing: PreprocessMode,
    parameters: int,
    stages: tuple[Stage, ...],
    head: OriginalHead,
    *,
    norm_channels: int = 0,
) -> Backbone:
    return Backbone(
        name,
        "test",
        name,
        32,
        preprocessing,
        stages,
        parameters,
        "Apache-2.0",
        "ours, for tests; no pretrained weights exist",
        8,
        head,
        residual=norm_channels > 0,
        norm_channels=norm_channels,
    )


def _tiny_vgg() -> Backbone:
    stages = tuple(
        Stage(f"block{n}", f"block{n}_pool", 2**n, 4 * 2**n, _CONV_POOL) for n in (1, 2, 3)
    )
    head = OriginalHead((16, 8), dropout=0.5, classes=2)
    return _tiny("tiny_vgg", "unit", 6_032, stages, head)


def _tiny_resnet() -> Backbone:
    stages = tuple(Stage(f"block{n}", f"block{n}_out", 2**n, 8 * 2**n, _HALF) for n in (1, 2, 3))
    head = OriginalHead(classes=2)
    return _tiny("tiny_resnet", "torch", 78_384, stages, head, norm_channels=16)


_ENTRIES = (
    _vgg("vgg16", "VGG16", 14_714_688),
    _vgg("vgg19", "VGG19", 20_024_384),
    _basic_resnet("resnet18", (2, 2, 2, 2), 11_186_112),
    _basic_resnet("resnet34", (3, 4, 6, 3), 21_301_696),
    _resnet("resnet50", "ResNet50", (3, 4, 6, 3), 23_587_712),
    _resnet("resnet101", "ResNet101", (3, 4, 23, 3), 42_658_176),
    _resnet("resnet152", "ResNet152", (3, 8, 36, 3), 58_370_944),
    _resnet_v2("resnet50v2", "ResNet50V2", (3, 4, 6, 3), 23_564_800),
    _resnet_v2("resnet101v2", "ResNet101V2", (3, 4, 23, 3), 42_626_560),
    _resnet_v2("resnet152v2", "ResNet152V2", (3, 8, 36, 3), 58_331_648),
    _efficientnet_lite(0, 224, (16, 24, 40, 80, 112, 192), 3_413_024),
    _efficientnet_lite(1, 240, (16, 24, 40, 80, 112, 192), 4_189_344),
    _efficientnet_lite(2, 260, (16, 24, 48, 88, 120, 208), 4_869_168),
    *EFFICIENTNETS,
    *MOBILE_NETWORKS,
    *INCEPTION_TO_CONVNEXT,
    _alexnet(),
    _lenet5(),
    _digits_cnn(),
    _tiny_vgg(),
    _tiny_resnet(),
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {entry.name: replace(entry, multiply_adds=MULTIPLY_ADDS[entry.name]) for entry in _ENTRIES}
)


def listed_backbones(*, include_test: bool = False) -> tuple[Backbone, ...]:
    """Return the backbones of a listing, with the tiny test networks if ``include_test``."""
    return tuple(b for b in BACKBONES.values() if include_test or b.family != "test")


def get_backbone(name: str) -> Backbone:
    """Return the registry entry called ``name``; raise UsageError when there is none."""
    if name not in BACKBONES:
        known = [backbone.name for backbone in listed_backbones()]
        message = f"There is no backbone '{name}'.{did_you_mean(name.lower(), known)}"
        raise UsageError(message, hint="list the backbones with: tltool backbones list")
    return BACKBONES[name]
