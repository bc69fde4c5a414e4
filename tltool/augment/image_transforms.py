"""The transforms of one image, in the order in which they are applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import tensorflow as tf

from tltool.augment import pixel_operations, rand_augment, seeded_layers
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec, ColorJitter, WithProbability

Transform = Callable[[tf.Tensor], tf.Tensor]  # image float32 [H, W, 3] in 0…255 to the same

_CELL = (96 / 224, 1.0)  # sides of GridMask's cells relative to the image's, as in the paper


def image_transforms(
    spec: AugmentSpec, size: tuple[int, int], stream: SeedStream
) -> list[Transform]:
    """Return the transforms of each image: geometry, colours, degradations, then occlusion.

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

    def transform(image: tf.Tensor) -> tf.Tensor:
        drawn = stream.uniform((6,), -1.0, 1.0)
        return pixel_operations.affine(
            image,
            angle=drawn[0] * rotation,
            shift=(drawn[1] * share * size[1], drawn[2] * share * size[0]),
            scale=tf.exp(drawn[3] * zoom),
            shear=(tf.tan(drawn[4] * shear), tf.tan(drawn[5] * shear)),
        )

    return transform


def _colours(spec: AugmentSpec, stream: SeedStream) -> Iterator[Transform]:
    if spec.color_jitter is not None:
        jitter = _color_jitter(spec.color_jitter, stream)
        yield _with_probability(jitter, spec.color_jitter.probability, stream)
    if spec.grayscale is not None:
        yield _with_probability(pixel_operations.grey, spec.grayscale, stream)
    if spec.rand_augment is not None:
        yield rand_augment.rand_augment(spec.rand_augment, stream)
    if spec.aug_mix is not None:
        yield rand_augment.aug_mix(spec.aug_mix, stream)


def _color_jitter(spec: ColorJitter, stream: SeedStream) -> Transform:
    def transform(image: tf.Tensor) -> tf.Tensor:
        drawn = stream.uniform((4,), -1.0, 1.0)
        if spec.brightness:
            image = pixel_operations.brightness(image, 1 + drawn[0] * spec.brightness)
        if spec.contrast:
            image = pixel_operations.contrast(image, 1 + drawn[1] * spec.contrast)
        if spec.saturation:
            image = pixel_operations.saturation(image, 1 + drawn[2] * spec.saturation)
        return pixel_operations.hue(image, drawn[3] * spec.hue) if spec.hue else image

    return transform


def _degradations(
    spec: AugmentSpec, size: tuple[int, int], stream: SeedStream
) -> Iterator[Transform]:
    def noisy(image: tf.Tensor, settings: WithProbability) -> tf.Tensor:
        deviation = stream.uniform((), 0.0, settings.amount)
        return pixel_operations.add_noise(image, stream.normal((*size, 3)), deviation)

    def blurred(image: tf.Tensor, settings: WithProbability) -> tf.Tensor:
        sigma = stream.uniform((), 0.1 * settings.amount, settings.amount)
        return pixel_operations.gaussian_blur(image, sigma, largest=settings.amount)

    def compressed(image: tf.Tensor, settings: WithProbability) -> tf.Tensor:
        return pixel_operations.jpeg(
            image, stream.uniform((), 100 - int(settings.amount), 101, tf.int32)
        )

    kinds = ((blurred, spec.blur), (noisy, spec.noise), (compressed, spec.jpeg))
    for degrade, settings in kinds:
        if settings is not None:
            step = partial(degrade, settings=settings)
            yield _with_probability(step, settings.probability, stream)


def _occlusion(spec: AugmentSpec, size: tuple[int, int], stream: SeedStream) -> Iterator[Transform]:
    if spec.cutout is not None:
        yield seeded_layers.cutout(spec.cutout, stream)
    if spec.grid_mask is not None:
        step = _grid_mask(spec.grid_mask.amount, size, stream)
        yield _with_probability(step, spec.grid_mask.probability, stream)


def _grid_mask(hidden: float, size: tuple[int, int], stream: SeedStream) -> Transform:
    def transform(image: tf.Tensor) -> tf.Tensor:
        unit = stream.uniform((), *(share * min(size) for share in _CELL))
        offset = stream.uniform((2,)) * unit
        angle = stream.uniform((), 0.0, 2 * math.pi)
        return pixel_operations.grid_mask(
            image,
            unit=unit,
            hidden=hidden,
            offset=(offset[0], offset[1]),
            angle=angle,
            fill=seeded_layers.MEAN_GREY,
        )

    return transform


def _with_probability(transform: Transform, probability: float, stream: SeedStream) -> Transform:
    """Return a transform of this fraction of the images; the others cost nothing."""
    if probability >= 1:
        return transform

    def maybe(image: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            stream.uniform(()) < probability,
            lambda: tf.ensure_shape(transform(image), image.shape),
            lambda: image,
        )

    return maybe
