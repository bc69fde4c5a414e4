"""Mixup and CutMix: blends of two images of a batch and of their labels.

keras-cv's MixUp and CutMix ignore their seed for the Beta draw, and CutMix weights the labels with
a rectangle that may extend beyond the image. Here only the filling of rectangles is keras-cv's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from tltool.augment.keras_cv_operations import fill_rectangle
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec
from tltool.augment.transform import Draws, per_image

Pair = tuple[tf.Tensor, tf.Tensor]  # images and labels of a batch


@dataclass(frozen=True)
class MixUp:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412).

    Attributes:
        alpha: both parameters of the Beta distribution of the mixing coefficient.
        stream: source of all random draws.
    """

    alpha: float
    stream: SeedStream

    def draw(self, size: tf.Tensor) -> Draws:
        """Return partners int32 [B] and mixing coefficients float32 [B] for a batch of ``size``."""
        return self.stream.permutation(size), self.stream.beta(self.alpha, (size,))

    def apply(
        self, images: tf.Tensor, labels: tf.Tensor, order: tf.Tensor, share: tf.Tensor
    ) -> Pair:
        """Return the blended batch."""
        weight = per_image(share)
        blended = weight * images + (1.0 - weight) * tf.gather(images, order)
        return blended, _mixed_labels(labels, order, share)


@dataclass(frozen=True)
class CutMix:
    """CutMix (Yun et al. 2019, arXiv:1905.04899).

    Labels are weighted by the area actually pasted, as in the paper's code.

    Attributes:
        alpha: both parameters of the Beta distribution of the pasted area.
        size: height and width of the images.
        stream: source of all random draws.
    """

    alpha: float
    size: tuple[int, int]
    stream: SeedStream

    def draw(self, size: tf.Tensor) -> Draws:
        """Return partners, the fraction kept, and centres and sides of rectangles, each [B]."""
        order = self.stream.permutation(size)
        side = tf.sqrt(1.0 - self.stream.beta(self.alpha, (size,)))
        height, width = self.size
        y, cut_height, pasted_height = self._span(size, side, height)
        x, cut_width, pasted_width = self._span(size, side, width)
        pasted = tf.cast(pasted_height * pasted_width, tf.float32)
        kept = 1.0 - pasted / tf.cast(height * width, tf.float32)
        return order, kept, x, y, cut_width, cut_height

    def apply(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor,
        kept: tf.Tensor,
        *rectangles: tf.Tensor,
    ) -> Pair:
        """Return the blended batch."""
        mixed = fill_rectangle(images, *rectangles, tf.gather(images, order))
        return mixed, _mixed_labels(labels, order, kept)

    def _span(
        self, size: tf.Tensor, side: tf.Tensor, extent: int
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return centres, lengths and lengths inside the image along one axis, int32 [size]."""
        length = tf.cast(side * tf.cast(extent, tf.float32), tf.int32)
        centre = self.stream.uniform((size,), 0, extent, tf.int32)
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
        size: height and width of the images.
        stream: source of all random draws.
    """

    def __init__(self, spec: AugmentSpec, size: tuple[int, int], stream: SeedStream) -> None:
        self._stream = stream
        self._mixed, self._switched = spec.mix_probability, spec.switch_probability
        # the order of their draws
        self._kinds: list[CutMix | MixUp] = []
        if spec.cutmix is not None:
            self._kinds.append(CutMix(spec.cutmix, size, stream))
        if spec.mixup is not None:
            self._kinds.append(MixUp(spec.mixup, stream))

    def draw(self, size: tf.Tensor) -> tuple[Draws, ...]:
        """Return the draws for a batch of ``size`` images: two coins, then those of each kind."""
        return (self._stream.uniform((2,)),), *(kind.draw(size) for kind in self._kinds)

    def apply(self, images: tf.Tensor, labels: tf.Tensor, draws: tuple[Draws, ...]) -> Pair:
        """Return the batch, blended by one of the two or unchanged.

        Args:
            images: float32 [B, H, W, C].
            labels: float32 [B, classes].
            draws: what ``draw`` returned.
        """
        with tf.device("/CPU:0"):  # a branch that depends on a GPU waits for all earlier work there
            mixed, switched = tf.unstack(draws[0][0] < (self._mixed, self._switched))
        kinds = [
            partial(kind.apply, images, labels, *drawn)
            for kind, drawn in zip(self._kinds, draws[1:], strict=True)
        ]

        def mix() -> Pair:
            result: Pair = kinds[0]() if len(kinds) == 1 else tf.cond(switched, *kinds)
            return tf.ensure_shape(result[0], images.shape), result[1]

        if self._mixed >= 1:
            return mix()
        result: Pair = tf.cond(mixed, mix, lambda: (images, labels))
        return result


def _mixed_labels(labels: tf.Tensor, order: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    kept = kept[:, tf.newaxis]
    return kept * labels + (1.0 - kept) * tf.gather(labels, order)
