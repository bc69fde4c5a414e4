"""The transforms of one image, in the order in which they are applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import tensorflow as tf

from tltool.augment import batch_operations, pixel_operations, rand_augment, seeded_layers
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec, ColorJitter
from tltool.augment.transform import Draws, Transform, per_image

_CELL = (96 / 224, 1.0)  # sides of GridMask's cells relative to the image's, as in the paper


def image_transforms(
    spec: AugmentSpec, size: tuple[int, int], stream: SeedStream
) -> list[Transform]:
    """Return the transforms of each image: geometry, colours, degradations, occlusion, own.

    Args:
        spec: the augmentation.
        size: height and width of the images.
        stream: source of all random draws.
    """
    return [
        *_geometry(spec, size, stream),
        *_colours(spec, stream),
        *_degradations(spec, size, stream),
        *_occlusion(spec, size, stream),
        *_own(spec, stream),
    ]


def _geometry(spec: AugmentSpec, size: tuple[int, int], stream: SeedStream) -> Iterator[Transform]:
    if spec.flip != "none":
        yield seeded_layers.flip(spec.flip, spec.flip_probability, stream)
    if spec.crop is not None:
        area, aspect = spec.crop
        yield seeded_layers.crop_and_resize(size, min_area=area, max_aspect=aspect, stream=stream)
    if any((spec.rotation, spec.translation, spec.scale, spec.shear)):
        yield _affine(spec, size, stream)


def _affine(spec: AugmentSpec, size: tuple[int, int], stream: SeedStream) -> Transform:
    """Return rotation, translation, scale and shear as one transform: it interpolates only once."""
    rotation, shear = (math.radians(angle or 0.0) for angle in (spec.rotation, spec.shear))
    zoom = math.log1p(spec.scale or 0.0)
    share = spec.translation or 0.0

    def transform(operations: Any, image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        numbers = tf.unstack(drawn, axis=-1)
        return operations.affine(
            image,
            angle=numbers[0] * rotation,
            shift=(numbers[1] * share * size[1], numbers[2] * share * size[0]),
            scale=tf.exp(numbers[3] * zoom),
            shear=(tf.tan(numbers[4] * shear), tf.tan(numbers[5] * shear)),
        )

    return _of_both(lambda: (stream.uniform((6,), -1.0, 1.0),), transform)


def _colours(spec: AugmentSpec, stream: SeedStream) -> Iterator[Transform]:
    if spec.color_jitter is not None:
        jitter = _color_jitter(spec.color_jitter, stream)
        yield _with_probability(jitter, spec.color_jitter.probability, stream)
    if spec.grayscale is not None:
        grey = _of_both(tuple, lambda operations, image: operations.grey(image))
        yield _with_probability(grey, spec.grayscale, stream)
    if spec.rand_augment is not None:
        yield rand_augment.rand_augment(spec.rand_augment, stream)
    if spec.aug_mix is not None:
        yield rand_augment.aug_mix(spec.aug_mix, stream)


def _color_jitter(spec: ColorJitter, stream: SeedStream) -> Transform:
    def transform(operations: Any, image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        numbers = tf.unstack(drawn, axis=-1)
        if spec.brightness:
            image = operations.brightness(image, 1 + numbers[0] * spec.brightness)
        if spec.contrast:
            image = operations.contrast(image, 1 + numbers[1] * spec.contrast)
        if spec.saturation:
            image = operations.saturation(image, 1 + numbers[2] * spec.saturation)
        return operations.hue(image, numbers[3] * spec.hue) if spec.hue else image

    return _of_both(lambda: (stream.uniform((4,), -1.0, 1.0),), transform)


def _degradations(
    spec: AugmentSpec, size: tuple[int, int], stream: SeedStream
) -> Iterator[Transform]:
    kinds = ((_blur, spec.blur), (partial(_noise, size=size), spec.noise), (_jpeg, spec.jpeg))
    for degrade, settings in kinds:
        if settings is not None:
            transform = degrade(settings.amount, stream=stream)
            yield _with_probability(transform, settings.probability, stream)


def _blur(largest: float, *, stream: SeedStream) -> Transform:
    def transform(operations: Any, image: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        return operations.gaussian_blur(image, sigma, largest=largest)

    return _of_both(lambda: (stream.uniform((), 0.1 * largest, largest),), transform)


def _noise(largest: float, *, size: tuple[int, int], stream: SeedStream) -> Transform:
    def numbers(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal((*size, 3), seed)

    def apply(image: tf.Tensor, deviation: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return pixel_operations.add_noise(image, numbers(seed), deviation)

    def apply_to_batch(images: tf.Tensor, deviation: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        drawn = tf.map_fn(numbers, seeds, fn_output_signature=tf.float32)
        return batch_operations.add_noise(images, drawn, deviation)

    # the seed of the noise is drawn, not the noise: it is as large as the image
    return Transform(
        lambda: (stream.uniform((), 0.0, largest), stream.draw()), apply, apply_to_batch
    )


def _jpeg(largest: float, *, stream: SeedStream) -> Transform:
    def draw() -> Draws:
        return (stream.uniform((), 100 - int(largest), 101, tf.int32),)

    return Transform(draw, pixel_operations.jpeg, None)  # TensorFlow's encoder needs a CPU


def _occlusion(spec: AugmentSpec, size: tuple[int, int], stream: SeedStream) -> Iterator[Transform]:
    if spec.cutout is not None:
        yield seeded_layers.cutout(spec.cutout, size, stream)
    if spec.grid_mask is not None:
        step = _grid_mask(spec.grid_mask.amount, size, stream)
        yield _with_probability(step, spec.grid_mask.probability, stream)


def _grid_mask(hidden: float, size: tuple[int, int], stream: SeedStream) -> Transform:
    def draw() -> Draws:
        unit = stream.uniform((), *(share * min(size) for share in _CELL))
        return unit, stream.uniform((2,)) * unit, stream.uniform((), 0.0, 2 * math.pi)

    def transform(operations: Any, image: tf.Tensor, *drawn: tf.Tensor) -> tf.Tensor:
        unit, offset, angle = drawn
        return operations.grid_mask(
            image,
            unit=unit,
            hidden=hidden,
            offset=(offset[..., 0], offset[..., 1]),
            angle=angle,
            fill=seeded_layers.MEAN_GREY,
        )

    return _of_both(draw, transform)


def _own(spec: AugmentSpec, stream: SeedStream) -> Iterator[Transform]:
    if spec.own is not None:
        yield Transform(lambda: (stream.draw(),), spec.own.apply, None)


def _of_both(draw: Callable[[], Draws], transform: Callable[..., tf.Tensor]) -> Transform:
    """Return a transform of images and batches, written once for the operations of either."""
    return Transform(
        draw, partial(transform, pixel_operations), partial(transform, batch_operations)
    )


def _with_probability(transform: Transform, probability: float, stream: SeedStream) -> Transform:
    """Return a transform of this fraction of the images; on a CPU the others cost nothing."""
    if probability >= 1:
        return transform

    def draw() -> Draws:
        return stream.uniform(()), *transform.draw()

    def apply(image: tf.Tensor, coin: tf.Tensor, *drawn: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            coin < probability,
            lambda: tf.ensure_shape(transform.apply(image, *drawn), image.shape),
            lambda: image,
        )

    batched = transform.apply_to_batch
    if batched is None:
        return Transform(draw, apply, None)

    def apply_to_batch(images: tf.Tensor, coins: tf.Tensor, *drawn: tf.Tensor) -> tf.Tensor:
        return tf.where(per_image(coins < probability), batched(images, *drawn), images)

    return Transform(draw, apply, apply_to_batch)
