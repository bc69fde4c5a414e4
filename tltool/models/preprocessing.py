"""Preprocessing: maps 0..255 RGB to the input range of a backbone, as a layer of the model."""

from __future__ import annotations

from typing import Any

import keras

from tltool.errors import UsageError
from tltool.models.backbone_registry import PreprocessMode

_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's and TensorFlow's own grey
_MODES = ("caffe", "tf", "torch", "unit", "grey", "none")


@keras.saving.register_keras_serializable(package="tltool")
class Preprocess(keras.layers.Layer):
    """Map float32 RGB in 0..255 to a backbone's own input range.

    Args:
        mode: ``caffe`` (BGR minus the ImageNet mean), ``tf`` (-1..1), ``torch`` (0..1, then
            standardised by channel), ``unit`` (0..1), ``grey`` (one channel, 0..1) or ``none``.

    Input: float32 ``[B, H, W, 3]``; output: the same, with ``grey`` ``[B, H, W, 1]``. The layer
    computes in float32 under every mixed precision policy: bfloat16 cannot represent 0..255 finely.
    """

    def __init__(self, mode: PreprocessMode, **kwargs: Any) -> None:
        if mode not in _MODES:
            raise UsageError(f"Unknown preprocessing '{mode}'.", hint=f"use one of {_MODES}")
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, images: Any) -> Any:
        """Return the preprocessed images, float32 ``[B, H, W, channels]``."""
        if self.mode == "caffe":
            return keras.ops.flip(images, axis=-1) - keras.ops.array(_CAFFE_MEAN_BGR, "float32")
        if self.mode == "tf":
            return images / 127.5 - 1.0
        if self.mode == "torch":
            mean = keras.ops.array(_TORCH_MEAN, "float32")
            return (images / 255.0 - mean) / keras.ops.array(_TORCH_STD, "float32")
        if self.mode == "grey":
            luma = keras.ops.array(_LUMA, "float32") / 255.0
            return keras.ops.sum(images * luma, axis=-1, keepdims=True)
        return images / 255.0 if self.mode == "unit" else images

    @property
    def channels(self) -> int:
        """Channels of the output."""
        return 1 if self.mode == "grey" else 3

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``input_shape`` with the channels of the output."""
        return (*input_shape[:-1], self.channels)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild this layer."""
        return {**super().get_config(), "mode": self.mode}
