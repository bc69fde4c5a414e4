"""Preprocessing: maps 0..255 RGB to the input range of a backbone, as part of the network."""

from __future__ import annotations

from typing import Any

import keras

from tltool.errors import UsageError
from tltool.models.backbone_registry import PreprocessMode

_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's and TensorFlow's own grey
_MODES = ("caffe", "tf", "tf128", "torch", "lite", "unit", "grey", "none")
PREPROCESS = "preprocess"  # name of its last layer


def preprocessed(images: Any, mode: PreprocessMode) -> Any:
    """Return symbolic images mapped to a backbone's own input range.

    It consists of Keras' own operations, so that a saved network opens in plain Keras, without
    tltool; the last one is the layer ``preprocess``. It computes in float32 under every mixed
    precision policy: bfloat16 cannot represent 0..255 finely.

    Args:
        images: symbolic float32 ``[B, H, W, 3]``, RGB in 0..255.
        mode: ``caffe`` (BGR minus the ImageNet mean), ``tf`` (-1..1), ``torch`` (0..1, then
            standardised by channel), ``lite`` (minus 127, over 128; EfficientNet-Lite), ``tf128``
            (over 128, minus 1; EfficientNetV2 S to L), ``unit`` (0..1), ``grey`` (one channel,
            0..1) or ``none``.

    Returns:
        Symbolic float32 ``[B, H, W, 3]``, with ``grey`` ``[B, H, W, 1]``.

    Raises:
        UsageError: there is no such mode.

    Examples:
        >>> images = keras.Input((224, 224, 3), dtype="float32")
        >>> preprocessed(images, "grey").shape
        (None, 224, 224, 1)
    """
    if mode not in _MODES:
        raise UsageError(f"Unknown preprocessing '{mode}'.", hint=f"use one of {', '.join(_MODES)}")
    return keras.layers.Identity(name=PREPROCESS, dtype="float32")(_mapped(images, mode))


def _mapped(images: Any, mode: PreprocessMode) -> Any:
    if mode == "caffe":
        return keras.ops.flip(images, axis=-1) - keras.ops.array(_CAFFE_MEAN_BGR, "float32")
    if mode == "tf":
        return images / 127.5 - 1.0
    if mode == "tf128":
        return images / 128.0 - 1.0
    if mode == "lite":
        return (images - 127.0) / 128.0
    if mode == "torch":
        mean = keras.ops.array(_TORCH_MEAN, "float32")
        return (images / 255.0 - mean) / keras.ops.array(_TORCH_STD, "float32")
    if mode == "grey":
        luma = keras.ops.array(_LUMA, "float32") / 255.0
        return keras.ops.sum(images * luma, axis=-1, keepdims=True)
    return images / 255.0 if mode == "unit" else images
