"""Mixup and CutMix: blends of two images of a batch and of their labels.

keras-cv's MixUp and CutMix ignore their seed for the Beta draw, and CutMix weights the labels with
a rectangle that may extend beyond the image. The subclasses use its image operations and replace
the random draws.
"""

from __future__ import annotations

from typing import Any

import keras_cv
import tensorflow as tf

from tltool.augment.seeded_layers import UNUSED_SEED, SeedStream
from tltool.augment.spec import AugmentSpec

Pair = tuple[tf.Tensor, tf.Tensor]  # images and labels of a batch


class StreamMixUp(keras_cv.layers.MixUp):
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) with draws from a seed stream."""

    def __init__(self, alpha: float, stream: SeedStream) -> None:
        super().__init__(alpha=alpha, seed=UNUSED_SEED, dtype="float32")
        self._stream = stream

    def _mixup(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        size = tf.shape(images)[0]
        order = self._stream.permutation(size)
        share = self._stream.beta(self.alpha, (size,))
        weight = tf.reshape(share, [-1, 1, 1, 1])
        return weight * images + (1.0 - weight) * tf.gather(images, order), share, order


class StreamCutMix(keras_cv.layers.CutMix):
    """CutMix (Yun et al. 2019, arXiv:1905.04899) with draws from a seed stream.

    Labels are weighted by the area actually pasted, as in the paper's code.
    """

    def __init__(self, alpha: float, stream: SeedStream) -> None:
        super().__init__(alpha=alpha, seed=UNUSED_SEED, dtype="float32")
        self._stream = stream

    def _cutmix(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        shape = tf.shape(images)
        size, height, width = shape[0], shape[1], shape[2]
        order = self._stream.permutation(size)
        side = tf.sqrt(1.0 - self._stream.beta(self.alpha, (size,)))
        y, cut_height, pasted_height = self._span(size, side, height)
        x, cut_width, pasted_width = self._span(size, side, width)
        mixed = keras_cv.src.utils.fill_utils.fill_rectangle(
            images, x, y, cut_width, cut_height, tf.gather(images, order)
        )
        kept = 1.0 - tf.cast(pasted_height * pasted_width, tf.float32) / tf.cast(
            height * width, tf.float32
        )
        return mixed, kept, order, y, x, cut_width, cut_height

    def _span(
        self, size: tf.Tensor, side: tf.Tensor, extent: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return centres, lengths and lengths inside the image along one axis, int32 [size]."""
        length = tf.cast(side * tf.cast(extent, tf.float32), tf.int32)
        centre = self._stream.uniform((size,), 0, extent, tf.int32)
        start = tf.cast(centre, tf.float32) - tf.cast(length, tf.float32) / 2
        corners = tf.stack([start, start + tf.cast(length, tf.float32)])
        inside = tf.clip_by_value(corners, 0.0, tf.cast(extent, tf.float32))
        # keras-cv's fill_rectangle fills the pixels i with start <= i < end
        low, high = tf.unstack(tf.cast(tf.math.ceil(inside), tf.int32))
        return centre, length, high - low


class Mixer:
    """Applies mixup or CutMix to a batch.

    Args:
        spec: which of the two, and with which probability.
        stream: source of all random draws.
    """

    def __init__(self, spec: AugmentSpec, stream: SeedStream) -> None:
        self._stream = stream
        self._mixed, self._switched = spec.mix_probability, spec.switch_probability
        self._mixup = StreamMixUp(spec.mixup, stream) if spec.mixup is not None else None
        self._cutmix = StreamCutMix(spec.cutmix, stream) if spec.cutmix is not None else None

    def __call__(self, images: tf.Tensor, labels: tf.Tensor) -> Pair:
        """Return the batch, blended by one of the two or unchanged.

        Args:
            images: float32 [B, H, W, C].
            labels: float32 [B, classes].
        """
        coins = self._stream.uniform((2,))

        def mix() -> Pair:
            if self._mixup is None or self._cutmix is None:
                return _blend(self._mixup or self._cutmix, images, labels)
            # both are traced with draws of their own; only the selected one runs
            result: Pair = tf.cond(
                coins[1] < self._switched,
                lambda: _blend(self._cutmix, images, labels),
                lambda: _blend(self._mixup, images, labels),
            )
            return result

        if self._mixed >= 1:
            return mix()
        result: Pair = tf.cond(coins[0] < self._mixed, mix, lambda: (images, labels))
        return result


def _blend(kind: Any, images: tf.Tensor, labels: tf.Tensor) -> Pair:
    mixed = kind._batch_augment({"images": images, "labels": labels})
    return (
        tf.ensure_shape(mixed["images"], images.shape),
        tf.ensure_shape(mixed["labels"], labels.shape),
    )
