"""Names of the Keras ResNets of 2015 to 2018, brought to those of keras.applications today.

``resnet50_weights_tf_dim_ordering_tf_kernels.h5`` of https://github.com/fchollet/deep-learning-models,
and networks written after it, call a convolution ``res3b_branch2a`` and its normalisation
``bn3b_branch2a``; today they are ``conv3_block2_1_conv`` and ``conv3_block2_1_bn``. The parameters
are in both those of He's Caffe models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_LAYER = re.compile(r"(res|bn)([2-5])([a-z])(\d*)_branch(1|2a|2b|2c)")
_STEM = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn"}
_BRANCHES = {"1": 0, "2a": 1, "2b": 2, "2c": 3}
_KINDS = {"res": "conv", "bn": "bn"}


def to_current_names(layers: Mapping[str, list[np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """Return ``layers`` under today's names; others than of such a ResNet stay as they are.

    Raises:
        ValueError: its normalisation is in two layers each, as in files converted from Caffe.

    Examples:
        ``res4b12_branch2c`` becomes ``conv4_block13_3_conv``.
    """
    if not any(_LAYER.fullmatch(name) for name in layers):
        return dict(layers)
    scales = [name for name in layers if name.startswith("scale")]
    if scales:
        raise ValueError(
            f"it has layers of their own for scale and shift, such as '{scales[0]}', which the "
            "ResNets of keras.applications do not have"
        )
    return {_renamed(name): arrays for name, arrays in layers.items()}


def _renamed(name: str) -> str:
    match = _LAYER.fullmatch(name)
    if not match:
        return _STEM.get(name, name)
    kind, stage, letter, number, branch = match.groups()
    # blocks are a, b, c, …, or a, b1, b2, …
    block = int(number) + 1 if number else ord(letter) - ord("a") + 1
    return f"conv{stage}_block{block}_{_BRANCHES[branch]}_{_KINDS[kind]}"
