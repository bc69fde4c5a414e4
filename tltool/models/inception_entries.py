"""Registry entries of Inception, Xception, DenseNet and ConvNeXt, as in ``keras.applications``."""

from __future__ import annotations

from tltool.models.backbone import Backbone, Stage, Windows

_INCEPTION_V3_PAPER = "Szegedy et al. 2016, https://arxiv.org/abs/1512.00567"
_INCEPTION_RESNET_PAPER = "Szegedy et al. 2017, https://arxiv.org/abs/1602.07261"
_XCEPTION_PAPER = "Chollet 2017, https://arxiv.org/abs/1610.02357"
_DENSENET_PAPER = "Huang et al. 2017, https://arxiv.org/abs/1608.06993"
_CONVNEXT_PAPER = "Liu et al. 2022, https://arxiv.org/abs/2201.03545"
_SAME: Windows = ((3, 1, 1),)
_HALF: Windows = ((3, 2, 1),)
_HALF_DOWN: Windows = ((2, 2, 0),)
_HALF_VALID: Windows = ((3, 2, 0),)  # without padding
_STEM: Windows = ((3, 2, 0), (3, 1, 0), (3, 1, 1), (3, 2, 0), (3, 1, 0), (3, 2, 0))


def _inception_v3() -> Backbone:
    stages = (
        Stage("stem", "max_pooling2d_1", 8, 192, _STEM),
        Stage("mixed2", "mixed2", 8, 288, _SAME),
        Stage("mixed7", "mixed7", 16, 768, _HALF_VALID),
        Stage("mixed10", "mixed10", 32, 2048, _HALF_VALID),
    )
    return Backbone(
        "inception_v3",
        "inception",
        "InceptionV3",
        299,
        "tf",
        stages,
        21_802_784,
        "Apache-2.0",
        _INCEPTION_V3_PAPER,
        min_size=75,
        norm_channels=16,
    )


def _inception_resnet_v2() -> Backbone:
    stages = (
        Stage("stem", "max_pooling2d_1", 8, 192, _STEM),
        Stage("block35", "block35_10_ac", 8, 320, _SAME),
        Stage("block17", "block17_20_ac", 16, 1088, _HALF_VALID),
        Stage("block8", "conv_7b_ac", 32, 1536, _HALF_VALID),
    )
    return Backbone(
        "inception_resnet_v2",
        "inception",
        "InceptionResNetV2",
        299,
        "tf",
        stages,
        54_336_736,
        "Apache-2.0",
        _INCEPTION_RESNET_PAPER,
        min_size=75,
        residual=True,
        norm_channels=16,
    )


def _xception() -> Backbone:
    stages = (
        Stage("block2", "block2_add", 4, 128, ((3, 2, 0), (3, 1, 0), (3, 2, 1))),
        Stage("block3", "block3_add", 8, 256, _HALF),
        Stage("block4", "block4_add", 16, 728, _HALF),
        Stage("block12", "block12_add", 16, 728, _SAME),
        Stage("block14", "block14_sepconv2_act", 32, 2048, _HALF),
    )
    return Backbone(
        "xception",
        "xception",
        "Xception",
        299,
        "tf",
        stages,
        20_861_480,
        "MIT",
        _XCEPTION_PAPER,
        min_size=71,
        residual=True,
        norm_channels=8,
    )


def _densenet(depth: int, channels: tuple[int, ...], parameters: int) -> Backbone:
    stages = [Stage("conv1", "pool1", 4, 64, ((7, 2, 3), (3, 2, 1)))]
    for n, width in enumerate(channels[:-1], start=2):
        stages.append(Stage(f"conv{n}", f"pool{n}_pool", 2 ** (n + 1), width, _HALF_DOWN))
    stages.append(Stage("conv5", "relu", 32, channels[-1], _SAME))
    return Backbone(
        f"densenet{depth}",
        "densenet",
        f"DenseNet{depth}",
        224,
        "torch",
        tuple(stages),
        parameters,
        "BSD-3-Clause",
        _DENSENET_PAPER,
        norm_channels=32,
    )


def _convnext(size: str, blocks: tuple[int, ...], width: int, parameters: int) -> Backbone:
    name = f"convnext_{size.lower()}"
    ends = [f"{name}_stage_{n}_block_{count - 1}_add" for n, count in enumerate(blocks[:-1])]
    stages = tuple(
        Stage(f"stage{n}", end, 4 * 2**n, width * 2**n, _HALF_DOWN if n else ((4, 4, 0),))
        for n, end in enumerate((*ends, "layer_normalization"))
    )
    return Backbone(
        name,
        "convnext",
        f"ConvNeXt{size}",
        224,
        "torch",
        stages,
        parameters,
        "MIT",
        _CONVNEXT_PAPER,
        residual=True,
    )


INCEPTION_TO_CONVNEXT = (
    _densenet(121, (128, 256, 512, 1024), 7_037_504),
    _densenet(169, (128, 256, 640, 1664), 12_642_880),
    _densenet(201, (128, 256, 896, 1920), 18_321_984),
    _inception_v3(),
    _inception_resnet_v2(),
    _xception(),
    _convnext("Tiny", (3, 3, 9, 3), 96, 27_820_128),
    _convnext("Small", (3, 3, 27, 3), 96, 49_454_688),
    _convnext("Base", (3, 3, 27, 3), 128, 87_566_464),
    _convnext("Large", (3, 3, 27, 3), 192, 196_230_336),
    _convnext("XLarge", (3, 3, 27, 3), 256, 348_147_968),
)
