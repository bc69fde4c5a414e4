"""RandAugment and AugMix: random operations from a table, applied one after the other.

keras-cv's RandAugment (0.9) lacks rotation, posterisation and sharpness, and raises in
deterministic mode even with a seed, as does its AugMix; its Equalization needs AutoGraph. Keras'
RandAugment (3.15) computes all eleven operations to use two of them, and its AugMix draws the
operations once, while the graph is traced, so that every image gets the same. Here only the drawn
operation runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

from tltool.augment import pixel_operations
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugMix, RandAugment

_MAX_DEPTH = 3  # operations of AugMix's longest chain
_MAX_LEVEL = 10  # the maximum magnitude and severity in the papers' code
_GREY = 128.0  # fill value of RandAugment's code outside of a rotated image

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (image, amount) to image


@dataclass(frozen=True)
class Operation:
    """One operation with its maximum amount.

    Attributes:
        name: its name in the paper.
        apply: (image, amount) to image.
        largest: the amount at full strength.
        signed: whether the amount is negative in half of the cases.
    """

    name: str
    apply: Change
    largest: float = 1.0
    signed: bool = False


def _rotate(image: tf.Tensor, degrees: tf.Tensor, *, fill: float) -> tf.Tensor:
    return pixel_operations.affine(image, angle=degrees * (math.pi / 180), fill=fill)


def _shear(image: tf.Tensor, slope: tf.Tensor, *, vertical: bool, fill: float) -> tf.Tensor:
    return pixel_operations.affine(
        image, shear=(0.0, slope) if vertical else (slope, 0.0), fill=fill
    )


def _translate(image: tf.Tensor, share: tf.Tensor, *, vertical: bool, fill: float) -> tf.Tensor:
    axis = 0 if vertical else 1
    side = image.shape[axis]
    # whole pixels: slicing and padding cost a tenth of an interpolation
    shift = tf.cast(tf.round(share * side), tf.int32)
    before, after = tf.maximum(shift, 0), tf.maximum(-shift, 0)
    kept = image[after : side - before] if vertical else image[:, after : side - before]
    borders = [[0, 0], [0, 0], [0, 0]]
    borders[axis] = [before, after]
    return tf.pad(kept, borders, constant_values=fill)


def _enhance(change: Change, image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return change(image, 1 + amount)


def auto_contrast(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Stretch each channel to 0…255; a constant channel is unchanged."""
    rows = pixel_operations.as_rows(image)
    low = _of_channels(tf.reduce_min, rows)
    span = _of_channels(tf.reduce_max, rows) - low
    factor = tf.where(span > 0, tf.math.divide_no_nan(255.0, span), 1.0)
    start = tf.where(span > 0, low, 0.0)
    width = image.shape[1]
    stretched = (rows - tf.tile(start, [width])) * tf.tile(factor, [width])
    return tf.reshape(stretched, image.shape)


def posterize(image: tf.Tensor, lost: tf.Tensor, *, bits: int) -> tf.Tensor:
    """Keep the ``bits`` highest bits of each value, minus ``lost`` rounded down."""
    step = tf.pow(2.0, 8.0 - bits + tf.floor(lost))
    return tf.floor(image / step) * step


def solarize(image: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Invert values of at least 256 - ``amount``."""
    inverted = tf.cast(image >= 256 - amount, tf.float32)
    return tf.abs(255 * inverted - image)


def equalize(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Equalise the histogram of each channel, as Pillow does."""
    rows = tf.cast(tf.clip_by_value(pixel_operations.as_rows(image), 0.0, 255.0), tf.int32)
    last_value = _of_channels(tf.reduce_max, rows)
    places = rows + tf.tile(256 * tf.range(3), [image.shape[1]])  # in a table of all channels
    counts = tf.reshape(tf.math.bincount(tf.reshape(places, [-1]), minlength=3 * 256), [3, 256])
    last = tf.gather(counts, last_value, batch_dims=1)
    step = (tf.reduce_sum(counts, axis=1) - last)[:, tf.newaxis] // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    table = tf.cast(tf.where(step > 0, table, tf.range(256)), tf.float32)
    return tf.reshape(tf.gather(tf.reshape(table, [-1]), places), image.shape)


def _of_channels(reduce: Callable[..., tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
    """Return the least or greatest value of each channel, [3], of an image as rows."""
    return reduce(tf.reshape(reduce(rows, axis=0), [-1, 3]), axis=0)


def _geometry(fill: float, *, turn: float, slope: float, share: float) -> tuple[Operation, ...]:
    shears = [partial(_shear, vertical=vertical, fill=fill) for vertical in (False, True)]
    shifts = [partial(_translate, vertical=vertical, fill=fill) for vertical in (False, True)]
    return (
        Operation("rotate", partial(_rotate, fill=fill), turn, signed=True),
        Operation("shear_x", shears[0], slope, signed=True),
        Operation("shear_y", shears[1], slope, signed=True),
        Operation("translate_x", shifts[0], share, signed=True),
        Operation("translate_y", shifts[1], share, signed=True),
    )


def rand_augment_operations() -> tuple[Operation, ...]:
    """Return the fourteen operations of RandAugment (Cubuk et al. 2020, arXiv:1909.13719).

    Maximum amounts are those of its code, except that a higher magnitude always means a stronger
    effect: in that code posterisation, solarisation and the four enhancements do not.
    """
    enhancements = {
        "color": pixel_operations.saturation,
        "contrast": pixel_operations.contrast,
        "brightness": pixel_operations.brightness,
        "sharpness": pixel_operations.sharpness,
    }
    return (
        Operation("identity", lambda image, _: image),
        Operation("auto_contrast", auto_contrast),
        Operation("equalize", equalize),
        Operation("solarize", solarize, 256.0),
        Operation("posterize", partial(posterize, bits=8), 4.0),
        *(
            Operation(name, partial(_enhance, change), 0.9, signed=True)
            for name, change in enhancements.items()
        ),
        *_geometry(_GREY, turn=30.0, slope=0.3, share=0.45),
    )


def aug_mix_operations() -> tuple[Operation, ...]:
    """Return the nine operations of AugMix (Hendrycks et al. 2020, arXiv:1912.02781).

    None of them is among the corruptions that robustness benchmarks use.
    """
    return (
        Operation("auto_contrast", auto_contrast),
        Operation("equalize", equalize),
        Operation("posterize", partial(posterize, bits=4), 4.0),
        Operation("solarize", solarize, 256.0),
        *_geometry(0.0, turn=30.0, slope=0.3, share=1 / 3),
    )


def apply_one(
    operations: Sequence[Operation],
    image: tf.Tensor,
    number: tf.Tensor,
    strength: tf.Tensor | float,
    sign: tf.Tensor | float,
) -> tf.Tensor:
    """Return the image after one operation.

    Args:
        operations: the table of operations.
        image: the image.
        number: index of the operation, int32.
        strength: 0…1.
        sign: 1 or -1, for signed operations.
    """

    def applied(one: Operation) -> tf.Tensor:
        amount = strength * one.largest * (sign if one.signed else 1.0)
        return tf.ensure_shape(one.apply(image, amount), image.shape)

    return tf.switch_case(number, [partial(applied, one) for one in operations])


def _chain(
    operations: Sequence[Operation],
    image: tf.Tensor,
    numbers: tf.Tensor,
    strengths: tf.Tensor,
    signs: tf.Tensor,
    length: tf.Tensor | int,
) -> tf.Tensor:
    """Return the image after the first ``length`` of the drawn operations."""

    def step(place: tf.Tensor, changed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn = (numbers[place], strengths[place], signs[place])
        return place + 1, apply_one(operations, changed, *drawn)

    # a loop keeps the graph small: unrolled, AugMix would hold 81 operations
    return tf.while_loop(lambda place, _: place < length, step, (tf.constant(0), image))[1]


def rand_augment(spec: RandAugment, stream: SeedStream) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return RandAugment: ``spec.operations`` operations, drawn uniformly with replacement."""
    operations = rand_augment_operations()
    count = spec.operations

    def augment(image: tf.Tensor) -> tf.Tensor:
        numbers = stream.uniform((count,), 0, len(operations), tf.int32)
        strengths = tf.fill((count,), spec.magnitude / _MAX_LEVEL)
        signs = _signs(stream, (count,))
        return _chain(operations, image, numbers, strengths, signs, count)

    return augment


def aug_mix(spec: AugMix, stream: SeedStream) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return AugMix: chains of one to three operations, blended, and blended with the image.

    Weights of the chains are drawn from a Dirichlet distribution and the weight of their blend from
    a Beta distribution, both with parameters 1, as in the paper. Its consistency loss is not used.
    """
    operations = aug_mix_operations()

    def augment(image: tf.Tensor) -> tf.Tensor:
        shape = (spec.chains, _MAX_DEPTH)
        numbers = stream.uniform(shape, 0, len(operations), tf.int32)
        strengths = stream.uniform(shape, 0.1, max(0.1, spec.severity)) / _MAX_LEVEL
        signs = _signs(stream, shape)
        depths = stream.uniform((spec.chains,), 1, _MAX_DEPTH + 1, tf.int32)
        weights = stream.dirichlet(spec.chains)
        share = stream.beta(1.0, ())

        def add(number: tf.Tensor, blend: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = (numbers[number], strengths[number], signs[number], depths[number])
            weight = share * weights[number]
            return number + 1, blend + weight * _chain(operations, image, *drawn)

        start = (tf.constant(0), (1 - share) * image)
        return tf.while_loop(lambda number, _: number < spec.chains, add, start)[1]

    return augment


def _signs(stream: SeedStream, shape: tuple[int, ...]) -> tf.Tensor:
    return tf.where(stream.uniform(shape) < 0.5, -1.0, 1.0)
