"""keras-cv's layers, made pure functions of a seed.

keras-cv 0.9 draws from stateful generators: MixUp and CutMix ignore their seed for the Beta draw,
RandomCropAndResize draws area and aspect from two generators with one seed (so the two are
perfectly correlated), and CutMix weights the labels with a rectangle that may stick out of the
photo. The subclasses here keep keras-cv's image operations and replace the draws.
"""

from __future__ import annotations

from typing import Any

import keras_cv
import tensorflow as tf
from keras_cv.core import FactorSampler

# without a seed keras-cv reaches for the global generator, which determinism forbids
_UNUSED_SEED = 1


class SeedStream:
    """Source of random tensors that are functions of one seed tensor and the order of the draws."""

    def __init__(self) -> None:
        self._seed: tf.Tensor | None = None
        self._draws = 0

    def begin(self, seed: tf.Tensor) -> None:
        """Start over from ``seed`` (int32 [2]), at trace time."""
        self._seed = seed
        self._draws = 0

    def draw(self) -> tf.Tensor:
        """Return a new seed, int32 [2]."""
        self._draws += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._draws)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32
    ) -> tf.Tensor:
        """Return uniform numbers in [minval, maxval), as tf.random.Generator.uniform does."""
        if tf.as_dtype(dtype).is_integer:
            return tf.random.stateless_uniform(shape, self.draw(), minval, maxval, dtype)
        low = tf.cast(minval, dtype)
        unit = tf.random.stateless_uniform(shape, self.draw(), dtype=dtype)
        return low + unit * (tf.cast(maxval, dtype) - low)

    def beta(self, alpha: float, shape: Any) -> tf.Tensor:
        """Return Beta(alpha, alpha) numbers, float32."""
        first = tf.random.stateless_gamma(shape, self.draw(), alpha=alpha)
        second = tf.random.stateless_gamma(shape, self.draw(), alpha=alpha)
        # for tiny alpha both gammas can underflow to zero: 0/0 would poison the photo
        return tf.math.divide_no_nan(first, first + second)

    def permutation(self, size: tf.Tensor) -> tf.Tensor:
        """Return 0 … size - 1 in random order, int32 [size]."""
        return tf.random.experimental.stateless_shuffle(tf.range(size), self.draw())


class StreamFactor(FactorSampler):  # type: ignore[misc]
    """A keras-cv factor that is drawn from a seed stream."""

    def __init__(self, lower: float, upper: float, stream: SeedStream) -> None:
        self.lower, self.upper, self._stream = lower, upper, stream

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Return uniform numbers between the bounds."""
        return self._stream.uniform(shape, self.lower, self.upper, dtype)


class LogStreamFactor(StreamFactor):
    """A factor whose logarithm is uniform, so that stretch and squeeze are equally likely."""

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Return numbers between the bounds whose logarithms are uniform."""
        low, high = tf.math.log(self.lower), tf.math.log(self.upper)
        return tf.exp(self._stream.uniform(shape, low, high, dtype))


def flip(mode: str, stream: SeedStream) -> Any:
    """Return keras-cv's RandomFlip, drawing from ``stream``."""
    layer = keras_cv.layers.RandomFlip(mode=mode, seed=_UNUSED_SEED, dtype="float32")
    layer._random_generator = stream
    return layer


def crop_and_resize(
    size: tuple[int, int], *, min_area: float, max_aspect: float, stream: SeedStream
) -> Any:
    """Return keras-cv's RandomCropAndResize, drawing from ``stream``."""
    layer = keras_cv.layers.RandomCropAndResize(
        target_size=size,
        crop_area_factor=StreamFactor(min_area, 1.0, stream),
        aspect_ratio_factor=LogStreamFactor(1 / max_aspect, max_aspect, stream),
        seed=_UNUSED_SEED,
        dtype="float32",
    )
    layer._random_generator = stream
    return layer


def cutout(size: float, stream: SeedStream) -> Any:
    """Return keras-cv's RandomCutout with ImageNet's mean grey, drawing from ``stream``."""
    layer = keras_cv.layers.RandomCutout(
        height_factor=StreamFactor(0.0, size, stream),
        width_factor=StreamFactor(0.0, size, stream),
        fill_value=116.0,
        seed=_UNUSED_SEED,
        dtype="float32",
    )
    layer._random_generator = stream
    return layer


class StreamMixUp(keras_cv.layers.MixUp):  # type: ignore[misc]
    """Mixup (Zhang et al. 2018, arXiv:1710.09412) with draws from a seed stream."""

    def __init__(self, alpha: float, stream: SeedStream) -> None:
        super().__init__(alpha=alpha, seed=_UNUSED_SEED, dtype="float32")
        self._stream = stream

    def _mixup(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        size = tf.shape(images)[0]
        order = self._stream.permutation(size)
        share = self._stream.beta(self.alpha, (size,))
        weight = tf.reshape(share, [-1, 1, 1, 1])
        return weight * images + (1.0 - weight) * tf.gather(images, order), share, order


class StreamCutMix(keras_cv.layers.CutMix):  # type: ignore[misc]
    """CutMix (Yun et al. 2019, arXiv:1905.04899) with draws from a seed stream.

    Labels are weighted by the area that was really pasted, as in the paper's code.
    """

    def __init__(self, alpha: float, stream: SeedStream) -> None:
        super().__init__(alpha=alpha, seed=_UNUSED_SEED, dtype="float32")
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
        """Return centres, lengths and lengths inside the photo along one axis, int32 [size]."""
        length = tf.cast(side * tf.cast(extent, tf.float32), tf.int32)
        centre = self._stream.uniform((size,), 0, extent, tf.int32)
        start = tf.cast(centre, tf.float32) - tf.cast(length, tf.float32) / 2
        corners = tf.stack([start, start + tf.cast(length, tf.float32)])
        inside = tf.clip_by_value(corners, 0.0, tf.cast(extent, tf.float32))
        # keras-cv's fill_rectangle fills the pixels i with start <= i < end
        low, high = tf.unstack(tf.cast(tf.math.ceil(inside), tf.int32))
        return centre, length, high - low
