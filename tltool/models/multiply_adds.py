"""Multiply-adds of each backbone for one image of its own size, without the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MULTIPLY_ADDS: Mapping[str, int] = MappingProxyType(
    {
        "vgg16": 15_346_630_656,
        "vgg19": 19_508_428_800,
        "resnet18": 1_813_561_344,
        "resnet34": 3_663_249_408,
        "resnet50": 3_855_925_248,
        "resnet101": 7_568_146_432,
        "resnet152": 11_280_367_616,
        "resnet50v2": 3_480_207_360,
        "resnet101v2": 7_192_428_544,
        "resnet152v2": 10_904_649_728,
        "efficientnet_lite0": 383_907_552,
        "efficientnet_lite1": 598_905_232,
        "efficientnet_lite2": 858_456_272,
        "efficientnet_b0": 384_534_752,
        "efficientnet_b1": 685_522_832,
        "efficientnet_b2": 992_153_872,
        "efficientnet_b3": 1_825_605_392,
        "efficientnet_b4": 4_391_979_024,
        "efficientnet_b5": 10_264_336_752,
        "efficientnet_b6": 19_065_289_536,
        "efficientnet_b7": 37_743_324_192,
        "efficientnet_v2_b0": 716_806_176,
        "efficientnet_v2_b1": 1_195_539_360,
        "efficientnet_v2_b2": 1_696_134_832,
        "efficientnet_v2_b3": 3_009_922_816,
        "efficientnet_v2_s": 8_364_337_152,
        "efficientnet_v2_m": 24_581_180_384,
        "efficientnet_v2_l": 56_078_419_008,
        "mobilenet": 567_716_352,
        "mobilenet_v2": 299_494_272,
        "mobilenet_v3_small": 54_896_576,
        "mobilenet_v3_large": 214_080_960,
        "nasnet_mobile": 562_582_816,
        "nasnet_large": 23_779_382_658,
        "densenet121": 2_833_137_664,
        "densenet169": 3_358_179_328,
        "densenet201": 4_289_445_888,
        "inception_v3": 5_711_168_096,
        "inception_resnet_v2": 13_154_258_016,
        "xception": 8_355_355_496,
        "convnext_tiny": 4_454_763_264,
        "convnext_small": 8_682_944_256,
        "convnext_base": 15_353_705_472,
        "convnext_large": 34_359_897_600,
        "convnext_xlarge": 60_918_982_656,
        "alexnet": 655_566_528,
        "lenet5": 357_600,
        "digits_cnn": 696_192,
        "tiny_vgg": 811_008,
        "tiny_resnet": 3_522_560,
    }
)
"""Of convolutions and dense layers, as in the table of layers (``layer_table.layer_rows``)."""
