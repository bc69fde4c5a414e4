"""The registry of backbones: one literal entry each, readable without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tltool.errors import UsageError, did_you_mean

PreprocessMode = Literal["caffe", "tf", "torch", "unit", "grey", "none"]
Family = Literal["vgg", "resnet", "resnet_v2", "classic", "test"]

WHOLE_NET = "all"
HEAD_ONLY = "head"


@dataclass(frozen=True, slots=True)
class Stage:
    """A named part of a backbone, ending in exactly one tensor.

    Attributes:
        name: what a recipe says, e.g. ``block5``.
        layer: the layer whose output ends the stage.
        stride: pixels of the image per step of that output (rounded up at odd sizes).
        channels: channels of that output.
    """

    name: str
    layer: str
    stride: int
    channels: int


@dataclass(frozen=True, slots=True)
class OriginalHead:
    """The classifier that a backbone's paper puts on it: hidden dense layers, then the classes.

    Attributes:
        hidden: units of the hidden layers on all positions; without any, the mean over positions.
        activation: of the hidden layers.
        dropout: fraction dropped of each hidden layer's output.
        classes: of the paper's data set.
    """

    hidden: tuple[int, ...] = ()
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.0
    classes: int = 1000


@dataclass(frozen=True, slots=True)
class Backbone:
    """A feature extractor without its classifier.

    Attributes:
        builder: a class name of ``keras.applications`` or a key of ``build.BUILDERS``.
        image_size: height and width it was trained at.
        preprocessing: what it expects of 0..255 RGB, see ``preprocessing.Preprocess``.
        stages: from the image side to the head; the last one ends in the backbone's output.
        parameters: all weights without the classifier, moving statistics included.
        licence: of the published ImageNet weights; empty where there are none.
        min_size: the smallest height or width that it accepts.
        head: the classifier of its paper, which a recipe calls ``original``.
    """

    name: str
    family: Family
    builder: str
    image_size: int
    preprocessing: PreprocessMode
    stages: tuple[Stage, ...]
    parameters: int
    licence: str
    paper: str
    min_size: int = 32
    head: OriginalHead = OriginalHead()

    @property
    def default_head(self) -> str:
        """The kind of head where a recipe names none: the paper's for nets without weights."""
        return "original" if self.family == "classic" else "gap"

    def check_size(self, height: int, width: int) -> None:
        """Raise UsageError when images of this size leave the last stage without a position."""
        if min(height, width) < self.min_size:
            raise UsageError(
                f"{self.name} needs images of at least {self.min_size} px, not {height}x{width}.",
                hint=f"its own size is {self.image_size}: data.image_size in a recipe, or --size",
            )

    def stage(self, name: str) -> Stage:
        """Return the stage called ``name``; raise UsageError when there is none."""
        return self.stages[self._position(name)]

    def previous(self, name: str) -> Stage | None:
        """Return the stage before ``name``, or None when ``name`` is the first."""
        position = self._position(name)
        return self.stages[position - 1] if position else None

    def _position(self, name: str) -> int:
        names = [stage.name for stage in self.stages]
        if name not in names:
            known = ", ".join(names)
            message = f"{self.name} has no stage '{name}'.{did_you_mean(name, names)}"
            hint = f"its stages are {known}; '{WHOLE_NET}' and '{HEAD_ONLY}' are accepted too"
            raise UsageError(message, hint=hint)
        return names.index(name)


_LENET_PAPER = "LeCun et al. 1998, https://doi.org/10.1109/5.726791"
_ALEXNET_PAPER = "Krizhevsky 2014, https://arxiv.org/abs/1404.5997"
_VGG_PAPER = "Simonyan & Zisserman 2015, https://arxiv.org/abs/1409.1556"
_RESNET_PAPER = "He et al. 2016, https://arxiv.org/abs/1512.03385"
_RESNET_V2_PAPER = "He et al. 2016, https://arxiv.org/abs/1603.05027"


def _vgg(name: str, builder: str, parameters: int) -> Backbone:
    channels = (64, 128, 256, 512, 512)
    stages = tuple(
        Stage(f"block{n}", f"block{n}_pool", 2**n, width)
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


def _resnet(name: str, builder: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    stages = [Stage("conv1", "pool1_pool", 4, 64)]
    for n, count in enumerate(blocks, start=2):
        stages.append(Stage(f"conv{n}", f"conv{n}_block{count}_out", 2**n, 64 * 2**n))
    return Backbone(
        name, "resnet", builder, 224, "caffe", tuple(stages), parameters, "MIT", _RESNET_PAPER
    )


def _resnet_v2(name: str, builder: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    # V2 halves the resolution in a stage's last block, and conv5 only ends after post_relu.
    stages = [Stage("conv1", "pool1_pool", 4, 64)]
    for n, count in enumerate(blocks[:3], start=2):
        stages.append(Stage(f"conv{n}", f"conv{n}_block{count}_out", 2 ** (n + 1), 64 * 2**n))
    stages.append(Stage("conv5", "post_relu", 32, 2048))
    return Backbone(
        name, "resnet_v2", builder, 224, "tf", tuple(stages), parameters, "MIT", _RESNET_V2_PAPER
    )


def _basic_resnet(name: str, blocks: tuple[int, ...], parameters: int) -> Backbone:
    stages = [Stage("conv1", "maxpool", 4, 64)]
    for n, count in enumerate(blocks, start=1):
        layer = f"layer{n}_{count - 1}_out"
        stages.append(Stage(f"conv{n + 1}", layer, 2 ** (n + 1), 32 * 2**n))
    return Backbone(
        name, "resnet", name, 224, "torch", tuple(stages), parameters, "BSD-3-Clause", _RESNET_PAPER
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
    stages = (Stage("conv1", "conv1_pool", 2, 6), Stage("conv2", "conv2_pool", 4, 16))
    head = OriginalHead((120, 84), activation="tanh", classes=10)
    return _classic("lenet5", 32, "grey", stages, 2_572, _LENET_PAPER, 16, head)


def _alexnet() -> Backbone:
    shapes = ((8, 64), (16, 192), (16, 384), (16, 256), (32, 256))
    ends = ("pool", "pool", "conv", "conv", "pool")
    stages = tuple(
        Stage(f"conv{n}", f"conv{n}_{end}", stride, channels)
        for n, ((stride, channels), end) in enumerate(zip(shapes, ends, strict=True), start=1)
    )
    head = OriginalHead((4096, 4096), dropout=0.5)
    return _classic("alexnet", 224, "torch", stages, 2_469_696, _ALEXNET_PAPER, 63, head)


def _digits_cnn() -> Backbone:
    stages = (Stage("conv1", "conv1_drop", 2, 8), Stage("conv2", "conv2_drop", 4, 16))
    head = OriginalHead((256,), dropout=0.5, classes=10)
    return _classic("digits_cnn", 28, "unit", stages, 1_776, _LENET_PAPER, 8, head)


def _tiny(
    name: str,
    preprocessing: PreprocessMode,
    parameters: int,
    end: str,
    widths: tuple[int, int, int],
    head: OriginalHead,
) -> Backbone:
    stages = tuple(
        Stage(f"block{n}", f"block{n}_{end}", 2**n, width) for n, width in enumerate(widths, 1)
    )
    licence, paper = "Apache-2.0", "ours, for tests; no pretrained weights exist"
    return Backbone(
        name, "test", name, 32, preprocessing, stages, parameters, licence, paper, 8, head
    )


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
    _alexnet(),
    _lenet5(),
    _digits_cnn(),
    _tiny(
        "tiny_vgg",
        "unit",
        6_032,
        "pool",
        (8, 16, 32),
        OriginalHead((16, 8), dropout=0.5, classes=2),
    ),
    _tiny("tiny_resnet", "torch", 78_384, "out", (16, 32, 64), OriginalHead(classes=2)),
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def listed_backbones(*, include_test: bool = False) -> tuple[Backbone, ...]:
    """Return the entries that a listing shows: without the tiny test nets unless asked for."""
    return tuple(b for b in BACKBONES.values() if include_test or b.family != "test")


def get_backbone(name: str) -> Backbone:
    """Return the registry entry called ``name``; raise UsageError when there is none."""
    if name not in BACKBONES:
        known = [backbone.name for backbone in listed_backbones()]
        message = f"There is no backbone '{name}'.{did_you_mean(name.lower(), known)}"
        raise UsageError(message, hint=f"choose one of {', '.join(known)}")
    return BACKBONES[name]
