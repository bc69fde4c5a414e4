"""keras-cv layers as pure functions of a seed.

keras-cv 0.9 draws from stateful generators, and RandomCropAndResize draws area and aspect ratio
from two generators with one seed, so that the two are perfectly correlated. Here the image
operations are keras-cv's (except for the flip), and the random draws are replaced.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf

from tltool.augment import batch_operations
from tltool.augment.keras_cv_operations import FactorSampler, RandomCropAndResize, RandomCutout
from tltool.augment.transform import Draws, Transform, per_image

MEAN_GREY = 116.0  # mean of ImageNet's images; fill value of hidden regions
# without a seed keras-cv uses the global generator, which is an error in deterministic mode
UNUSED_SEED = 1

_RECTANGLE = ("centers_x", "centers_y", "rectangles_height", "rectangles_width")
_FLIPPED_AXES = {"horizontal": (1,), "vertical": (0,), "horizontal_and_vertical": (1, 0)}


class SeedStream:
    """Random tensors that are functions of one seed tensor and the order of the draws."""

    def __init__(self) -> None:
        self._seed: tf.Tensor | None = None
        self._draws = 0

    def begin(self, seed: tf.Tensor) -> None:
        """Restart from ``seed`` (int32 [2]), at trace time."""
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
        # for tiny alpha both gammas can underflow to zero: 0/0 would poison the image
        return tf.math.divide_no_nan(first, first + second)

    def normal(self, shape: Any) -> tf.Tensor:
        """Return standard normal numbers, float32."""
        return tf.random.stateless_normal(shape, self.draw())

    def dirichlet(self, size: int) -> tf.Tensor:
        """Return Dirichlet(1, …, 1) weights, float32 [size]."""
        parts = tf.random.stateless_gamma((size,), self.draw(), alpha=1.0)
        return parts / tf.reduce_sum(parts)

    def permutation(self, size: tf.Tensor) -> tf.Tensor:
        """Return 0 … size - 1 in random order, int32 [size]."""
        return tf.random.experimental.stateless_shuffle(tf.range(size), self.draw())


class StreamFactor(FactorSampler):
    """A keras-cv factor sampler that draws from a seed stream."""

    def __init__(self, lower: float, upper: float, stream: SeedStream) -> None:
        self.lower, self.upper, self._stream = lower, upper, stream

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Return uniform numbers between the bounds."""
        return self._stream.uniform(shape, self.lower, self.upper, dtype)


class LogStreamFactor(StreamFactor):
    """A log-uniform factor, so that enlarging and shrinking are equally likely."""

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Return numbers between the bounds whose logarithms are uniform."""
        low, high = tf.math.log(self.lower), tf.math.log(self.upper)
        return tf.exp(self._stream.uniform(shape, low, high, dtype))


def flip(mode: str, probability: float, stream: SeedStream) -> Transform:
    """Return a random flip, independent for each direction of ``mode``.

    keras-cv's RandomFlip mirrors every image and then selects pixel by pixel: five times the cost.
    """
    axes = _FLIPPED_AXES[mode]

    def apply(image: tf.Tensor, *coins: tf.Tensor) -> tf.Tensor:
        for axis, coin in zip(axes, coins, strict=True):
            mirrored = partial(tf.reverse, image, [axis])
            image = tf.cond(coin < probability, mirrored, partial(tf.identity, image))
        return image

    def apply_to_batch(images: tf.Tensor, *coins: tf.Tensor) -> tf.Tensor:
        for axis, coin in zip(axes, coins, strict=True):
            mirrored = tf.reverse(images, [axis + 1])
            images = tf.where(per_image(coin < probability), mirrored, images)
        return images

    return Transform(lambda: tuple(stream.uniform(()) for _ in axes), apply, apply_to_batch)


def crop_and_resize(
    size: tuple[int, int], *, min_area: float, max_aspect: float, stream: SeedStream
) -> Transform:
    """Return keras-cv's RandomCropAndResize, drawing from ``stream``."""
    layer = RandomCropAndResize(
        target_size=size,
        crop_area_factor=StreamFactor(min_area, 1.0, stream),
        aspect_ratio_factor=LogStreamFactor(1 / max_aspect, max_aspect, stream),
        seed=UNUSED_SEED,
        dtype="float32",
    )
    layer._random_generator = stream

    def draw() -> Draws:
        return (tf.stack(layer.get_random_transformation()[0]),)

    def apply(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        return layer.augment_image(image, transformation=box[tf.newaxis])

    return Transform(draw, apply, batch_operations.crop_and_resize)


def cutout(share: float, size: tuple[int, int], stream: SeedStream) -> Transform:
    """Return keras-cv's RandomCutout with ImageNet's mean grey, drawing from ``stream``.

    Args:
        share: side of the largest hidden rectangle as a fraction of the image's side.
        size: height and width of the images.
        stream: source of all random draws.
    """
    layer = RandomCutout(
        height_factor=StreamFactor(0.0, share, stream),
        width_factor=StreamFactor(0.0, share, stream),
        fill_value=MEAN_GREY,
        seed=UNUSED_SEED,
        dtype="float32",
    )
    layer._random_generator = stream

    def draw() -> Draws:
        # only the shape of these images is read
        places = layer.get_random_transformation_batch(1, images=tf.zeros((1, *size, 3)))
        return tuple(places[name][0] for name in _RECTANGLE)

    def apply_to_batch(images: tf.Tensor, *places: tf.Tensor) -> tf.Tensor:
        return layer.augment_images(images, dict(zip(_RECTANGLE, places, strict=True)))

    def apply(image: tf.Tensor, *places: tf.Tensor) -> tf.Tensor:
        return apply_to_batch(image[tf.newaxis], *(place[tf.newaxis] for place in places))[0]

    return Transform(draw, apply, apply_to_batch)
