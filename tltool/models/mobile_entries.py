"""Registry entries of MobileNet 1 to 3 and of NASNet, as in ``keras.applications``."""

from __future__ import annotations

from tltool.models.backbone import Backbone, Family, OriginalHead, PreprocessMode, Stage, Windows

_MOBILENET_PAPER = "Howard et al. 2017, https://arxiv.org/abs/1704.04861"
_MOBILENET_V2_PAPER = "Sandler et al. 2018, https://arxiv.org/abs/1801.04381"
_MOBILENET_V3_PAPER = "Howard et al. 2019, https://arxiv.org/abs/1905.02244"
_NASNET_PAPER = "Zoph et al. 2018, https://arxiv.org/abs/1707.07012"
_SAME: Windows = ((3, 1, 1),)
_SAME_5: Windows = ((5, 1, 2),)
_HALF: Windows = ((3, 2, 1),)
_HALF_5: Windows = ((5, 2, 2),)
_HALF_DOWN: Windows = ((2, 2, 0),)  # an odd side is rounded down: padded at one end only
# Four halvings, each rounded up: the cells of NASNet cannot be cut between them.
_SIXTEENTH: Windows = ((1, 16, 0),)


def _entry(
    name: str,
    family: Family,
    builder: str,
    stages: tuple[Stage, ...],
    parameters: int,
    paper: str,
    *,
    image_size: int = 224,
    head: OriginalHead | None = None,
    residual: bool = False,
    norm_channels: int = 8,
) -> Backbone:
    preprocessing: PreprocessMode = "tf"
    return Backbone(
        name,
        family,
        builder,
        image_size,
        preprocessing,
        stages,
        parameters,
        "Apache-2.0",
        paper,
        head=head or OriginalHead(),
        residual=residual,
        norm_channels=norm_channels,
    )


def _mobilenet() -> Backbone:
    ends = ((1, 2, 64), (3, 4, 128), (5, 8, 256), (11, 16, 512), (13, 32, 1024))
    stages = tuple(
        Stage(f"block{n}", f"conv_pw_{end}_relu", stride, width, _HALF if n == 1 else _HALF_DOWN)
        for n, (end, stride, width) in enumerate(ends, start=1)
    )
    return _entry(
        "mobilenet",
        "mobilenet",
        "MobileNet",
        stages,
        3_228_864,
        _MOBILENET_PAPER,
        norm_channels=32,
    )


def _mobilenet_v2() -> Backbone:
    stages = (
        Stage("block1", "expanded_conv_project_BN", 2, 16, _HALF),
        Stage("block2", "block_2_add", 4, 24, _HALF),
        Stage("block3", "block_5_add", 8, 32, _HALF),
        Stage("block4", "block_9_add", 16, 64, _HALF),
        Stage("block5", "block_12_add", 16, 96, _SAME),
        Stage("block6", "block_15_add", 32, 160, _HALF),
        Stage("block7", "out_relu", 32, 1280, _SAME),
    )
    return _entry(
        "mobilenet_v2",
        "mobilenet",
        "MobileNetV2",
        stages,
        2_257_984,
        _MOBILENET_V2_PAPER,
        residual=True,
    )


def _mobilenet_v3(
    size: str, stages: tuple[Stage, ...], parameters: int, hidden_units: int
) -> Backbone:
    head = OriginalHead((hidden_units,), activation="hard_swish", dropout=0.2, pooled=True)
    return _entry(
        f"mobilenet_v3_{size.lower()}",
        "mobilenet",
        f"MobileNetV3{size}",
        stages,
        parameters,
        _MOBILENET_V3_PAPER,
        head=head,
        residual=True,
    )


def _mobilenet_v3_small() -> Backbone:
    stages = (
        Stage("block1", "expanded_conv_project_bn", 4, 16, _HALF * 2),
        Stage("block2", "expanded_conv_2_add", 8, 24, _HALF),
        Stage("block3", "expanded_conv_5_add", 16, 40, _HALF_5),
        Stage("block4", "expanded_conv_7_add", 16, 48, _SAME_5),
        Stage("block5", "activation_17", 32, 576, _HALF_5),
    )
    return _mobilenet_v3("Small", stages, 939_120, 1024)


def _mobilenet_v3_large() -> Backbone:
    stages = (
        Stage("block1", "expanded_conv_add", 2, 16, _HALF),
        Stage("block2", "expanded_conv_2_add", 4, 24, _HALF),
        Stage("block3", "expanded_conv_5_add", 8, 40, _HALF_5),
        Stage("block4", "expanded_conv_9_add", 16, 80, _HALF),
        Stage("block5", "expanded_conv_11_add", 16, 112, _SAME),
        Stage("block6", "activation_19", 32, 960, _HALF_5),
    )
    return _mobilenet_v3("Large", stages, 2_996_352, 1280)


def _nasnet(
    size: str, image_size: int, channels: tuple[int, int], end: str, parameters: int, norm: int
) -> Backbone:
    # Every cell takes the outputs of two cells: the network can be cut before the first only.
    stages = (
        Stage("stem", "stem_bn1", 2, channels[0], ((3, 2, 0),)),
        Stage("cells", end, 32, channels[1], _SIXTEENTH),
    )
    return _entry(
        f"nasnet_{size.lower()}",
        "nasnet",
        f"NASNet{size}",
        stages,
        parameters,
        _NASNET_PAPER,
        image_size=image_size,
        norm_channels=norm,
    )


MOBILE_NETWORKS = (
    _mobilenet(),
    _mobilenet_v2(),
    _mobilenet_v3_small(),
    _mobilenet_v3_large(),
    _nasnet("Mobile", 224, (32, 1056), "activation_187", 4_269_716, 1),
    _nasnet("Large", 331, (96, 4032), "activation_259", 84_916_818, 6),
)
