"""Registry entries of EfficientNet and EfficientNetV2, as in ``keras.applications``."""

from __future__ import annotations

from tltool.models.backbone import Backbone, OriginalHead, Stage, Windows

_PAPER = "Tan & Le 2019, https://arxiv.org/abs/1905.11946"
_PAPER_V2 = "Tan & Le 2021, https://arxiv.org/abs/2104.00298"
_SAME: Windows = ((3, 1, 1),)
_HALF: Windows = ((3, 2, 1),)
_HALF_5: Windows = ((5, 2, 2),)
# Stride of each stage, and the window of its first block; the last stage ends in the top.
_STRIDES = (2, 4, 8, 16, 16, 32, 32)
_WINDOWS = (_HALF, _HALF, _HALF_5, _HALF, ((5, 1, 2),), _HALF_5, _SAME)
_WINDOWS_V2 = (_HALF, _HALF, _HALF, _HALF, _SAME, _HALF, _SAME)


def _block_end(block: int, repeats: int, single: str) -> str:
    """Return the last layer of a stage of ``repeats`` blocks, which have letters."""
    if repeats == 1:
        return f"block{block}a_{single}"
    return f"block{block}{'abcdefghijklmnopqrstuvwxyz'[repeats - 1]}_add"


def _efficientnet(
    variant: int,
    image_size: int,
    channels: tuple[int, ...],
    repeats: tuple[int, ...],
    dropout: float,
    parameters: int,
    *,
    norm_channels: int = 8,
) -> Backbone:
    layers = [_block_end(n, count, "project_bn") for n, count in enumerate(repeats, start=1)]
    stages = zip((*layers, "top_activation"), _STRIDES, channels, _WINDOWS, strict=True)
    return Backbone(
        f"efficientnet_b{variant}",
        "efficientnet",
        f"EfficientNetB{variant}",
        image_size,
        "torch",
        tuple(Stage(f"block{n}", *stage) for n, stage in enumerate(stages, start=1)),
        parameters,
        "Apache-2.0",
        _PAPER,
        head=OriginalHead(dropout=dropout),
        residual=True,
        norm_channels=norm_channels,
    )


def _efficientnet_v2(
    variant: str,
    image_size: int,
    channels: tuple[int, ...],
    repeats: tuple[int, ...],
    parameters: int,
    norm_channels: int,
) -> Backbone:
    ends = enumerate(repeats, start=1)
    layers = [_block_end(n, count, "project_activation") for n, count in ends][:-1]
    count = len(repeats)
    stages = zip(
        (*layers, "top_activation"), _STRIDES[:count], channels, _WINDOWS_V2[:count], strict=True
    )
    return Backbone(
        f"efficientnet_v2_{variant.lower()}",
        "efficientnet_v2",
        f"EfficientNetV2{variant}",
        image_size,
        "torch" if variant.startswith("B") else "tf128",
        tuple(Stage(f"block{n}", *stage) for n, stage in enumerate(stages, start=1)),
        parameters,
        "Apache-2.0",
        _PAPER_V2,
        head=OriginalHead(dropout=0.2),
        residual=True,
        norm_channels=norm_channels,
    )


EFFICIENTNETS = (
    _efficientnet(0, 224, (16, 24, 40, 80, 112, 192, 1280), (1, 2, 2, 3, 3, 4), 0.2, 4_049_564),
    _efficientnet(1, 240, (16, 24, 40, 80, 112, 192, 1280), (2, 3, 3, 4, 4, 5), 0.2, 6_575_232),
    _efficientnet(2, 260, (16, 24, 48, 88, 120, 208, 1408), (2, 3, 3, 4, 4, 5), 0.3, 7_768_562),
    _efficientnet(3, 300, (24, 32, 48, 96, 136, 232, 1536), (2, 3, 3, 5, 5, 6), 0.3, 10_783_528),
    _efficientnet(4, 380, (24, 32, 56, 112, 160, 272, 1792), (2, 4, 4, 6, 6, 8), 0.4, 17_673_816),
    _efficientnet(5, 456, (24, 40, 64, 128, 176, 304, 2048), (3, 5, 5, 7, 7, 9), 0.4, 28_513_520),
    _efficientnet(6, 528, (32, 40, 72, 144, 200, 344, 2304), (3, 6, 6, 8, 8, 11), 0.5, 40_960_136),
    _efficientnet(
        7,
        600,
        (32, 48, 80, 160, 224, 384, 2560),
        (4, 7, 7, 10, 10, 13),
        0.5,
        64_097_680,
        norm_channels=16,
    ),
    _efficientnet_v2("B0", 224, (16, 32, 48, 96, 112, 1280), (1, 2, 2, 3, 5, 8), 5_919_312, 16),
    _efficientnet_v2("B1", 240, (16, 32, 48, 96, 112, 1280), (2, 3, 3, 4, 6, 9), 6_931_124, 16),
    _efficientnet_v2("B2", 260, (16, 32, 56, 104, 120, 1408), (2, 3, 3, 4, 6, 10), 8_769_374, 8),
    _efficientnet_v2("B3", 300, (16, 40, 56, 112, 136, 1536), (2, 3, 3, 5, 7, 12), 12_930_622, 8),
    _efficientnet_v2("S", 384, (24, 48, 64, 128, 160, 1280), (2, 4, 4, 6, 9, 15), 20_331_360, 8),
    _efficientnet_v2(
        "M", 480, (24, 48, 80, 160, 176, 304, 1280), (3, 5, 5, 7, 14, 18, 5), 53_150_388, 8
    ),
    _efficientnet_v2(
        "L", 480, (32, 64, 96, 192, 224, 384, 1280), (4, 7, 7, 10, 19, 25, 7), 117_746_848, 32
    ),
)
