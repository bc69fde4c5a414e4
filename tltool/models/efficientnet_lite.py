"""EfficientNet-Lite 0 to 2: EfficientNet without squeeze-and-excitation, with ReLU6.

The reference is https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite,
after Tan and Le 2019, https://arxiv.org/abs/1905.11946. keras.applications has no Lite variant.
Layer names are those of timm (``tf_efficientnet_lite0``) with dots turned into underscores, so that
its published weights load by name.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from keras import layers

# Kernel, stride, expansion, channels and repeats of each stage of EfficientNet-B0.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# Multipliers of channels and repeats of each variant.
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
_STEM, _TOP = 32, 1280  # the Lite variants scale neither


def build_efficientnet_lite(variant: Literal[0, 1, 2], images: Any) -> Any:
    """Return the ``[B, ceil(H/32), ceil(W/32), 1280]`` features of EfficientNet-Lite.

    Args:
        variant: 0, 1 or 2.
        images: preprocessed float ``[B, H, W, 3]`` symbolic tensor, ``(pixels - 127) / 128``.
    """
    width, depth = _SCALES[variant]
    x = layers.Conv2D(_STEM, 3, strides=2, padding="same", use_bias=False, name="conv_stem")(images)
    x = _activated(x, "bn1")
    for stage, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES):
        fixed = stage in (0, len(_STAGES) - 1)
        for block in range(repeats if fixed else math.ceil(depth * repeats)):
            name = f"blocks_{stage}_{block}"
            step, filters = stride if block == 0 else 1, round_channels(channels * width)
            x = _block(x, kernel, step, expansion, filters, name)
    x = layers.Conv2D(_TOP, 1, use_bias=False, name="conv_head")(x)
    return _activated(x, "bn2", "top")


def round_channels(channels: float) -> int:
    """Return the multiple of 8 next to ``channels``, at most 10 % below it.

    Examples:
        >>> round_channels(1.1 * 112)
        120
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _block(x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
    """Return an inverted residual block (Sandler et al. 2018, https://arxiv.org/abs/1801.04381)."""
    shortcut, channels = x, x.shape[-1]
    expands = expansion > 1
    if expands:
        x = layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}_conv_pw")(x)
        x = _activated(x, f"{name}_bn1")
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv_dw"
    )(x)
    x = _activated(x, f"{name}_bn{2 if expands else 1}")
    last = "pwl" if expands else "pw"
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv_{last}")(x)
    x = _batch_norm(x, f"{name}_bn{3 if expands else 2}")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _activated(x: Any, norm: str, name: str = "") -> Any:
    return layers.ReLU(max_value=6.0, name=name or f"{norm}_relu")(_batch_norm(x, norm))


def _batch_norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)
