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
from typing import Any

import tensorflow as tf

from tltool.augment import batch_operations, pixel_operations
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugMix, RandAugment
from tltool.augment.transform import Draws, Transform, per_image

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
        apply_to_batch: (images, amount of each) to images.
        largest: the amount at full strength.
        signed: whether the amount is negative in half of the cases.
    """

    name: str
    apply: Change
    apply_to_batch: Change
    largest: float = 1.0
    signed: bool = False


def _rotate(operations: Any, image: tf.Tensor, degrees: tf.Tensor, *, fill: float) -> tf.Tensor:
    return operations.affine(image, angle=degrees * (math.pi / 180), fill=fill)


def _shear(
    operations: Any, image: tf.Tensor, slope: tf.Tensor, *, vertical: bool, fill: float
) -> tf.Tensor:
    return operations.affine(image, shear=(0.0, slope) if vertical else (slope, 0.0), fill=fill)


def _translate(
    operations: Any, image: tf.Tensor, share: tf.Tensor, *, vertical: bool, fill: float
) -> tf.Tensor:
    return operations.translate(image, share, vertical=vertical, fill=fill)


def _enhance(operations: Any, image: tf.Tensor, amount: tf.Tensor, *, name: str) -> tf.Tensor:
    return getattr(operations, name)(image, 1 + amount)


def _of_both(change: Callable[..., tf.Tensor], **settings: Any) -> tuple[Change, Change]:
    """Return a change of an image and of a batch, written once for the operations of either."""
    both = (pixel_operations, batch_operations)
    image, batch = (partial(change, operations, **settings) for operations in both)
    return image, batch


def _of_pixels(change: Change) -> tuple[Change, Change]:
    """Return a change of single pixels, and the same for a batch."""
    return change, batch_operations.elementwise(change)


def _geometry(fill: float, *, turn: float, slope: float, share: float) -> tuple[Operation, ...]:
    (shear_x, shear_y), (shift_x, shift_y) = (
        [_of_both(change, vertical=vertical, fill=fill) for vertical in (False, True)]
        for change in (_shear, _translate)
    )
    return (
        Operation("rotate", *_of_both(_rotate, fill=fill), turn, signed=True),
        Operation("shear_x", *shear_x, slope, signed=True),
        Operation("shear_y", *shear_y, slope, signed=True),
        Operation("translate_x", *shift_x, share, signed=True),
        Operation("translate_y", *shift_y, share, signed=True),
    )


def rand_augment_operations() -> tuple[Operation, ...]:
    """Return the fourteen operations of RandAugment (Cubuk et al. 2020, arXiv:1909.13719).

    Maximum amounts are those of its code, except that a higher magnitude always means a stronger
    effect: in that code posterisation, solarisation and the four enhancements do not.
    """
    enhancements = {
        "color": "saturation",
        "contrast": "contrast",
        "brightness": "brightness",
        "sharpness": "sharpness",
    }
    return (
        Operation("identity", *_of_pixels(lambda image, _: image)),
        Operation("auto_contrast", pixel_operations.auto_contrast, batch_operations.auto_contrast),
        Operation("equalize", pixel_operations.equalize, batch_operations.equalize),
        Operation("solarize", *_of_pixels(pixel_operations.solarize), 256.0),
        Operation("posterize", *_of_pixels(partial(pixel_operations.posterize, bits=8)), 4.0),
        *(
            Operation(name, *_of_both(_enhance, name=operation), 0.9, signed=True)
            for name, operation in enhancements.items()
        ),
        *_geometry(_GREY, turn=30.0, slope=0.3, share=0.45),
    )


def aug_mix_operations() -> tuple[Operation, ...]:
    """Return the nine operations of AugMix (Hendrycks et al. 2020, arXiv:1912.02781).

    None of them is among the corruptions that robustness benchmarks use.
    """
    return (
        Operation("auto_contrast", pixel_operations.auto_contrast, batch_operations.auto_contrast),
        Operation("equalize", pixel_operations.equalize, batch_operations.equalize),
        Operation("posterize", *_of_pixels(partial(pixel_operations.posterize, bits=4)), 4.0),
        Operation("solarize", *_of_pixels(pixel_operations.solarize), 256.0),
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


def apply_one_each(
    operations: Sequence[Operation],
    images: tf.Tensor,
    numbers: tf.Tensor,
    strengths: tf.Tensor,
    signs: tf.Tensor,
) -> tf.Tensor:
    """Return a batch after one operation on each image, as ``apply_one`` with its draws [B].

    All operations are computed: on a GPU that is faster than waiting for which ones were drawn.
    """
    changed = images
    for number, one in enumerate(operations):
        amount = strengths * one.largest * (signs if one.signed else 1.0)
        result = tf.ensure_shape(one.apply_to_batch(images, amount), images.shape)
        changed = tf.where(per_image(numbers == number), result, changed)
    return changed


def _chain(
    apply: Callable[..., tf.Tensor],
    image: tf.Tensor,
    draws: Draws,
    length: tf.Tensor | int,
) -> tf.Tensor:
    """Return the image, or the batch, after the first ``length`` of the drawn operations.

    Args:
        apply: (image, draws of one operation) to image.
        image: the image, or the batch.
        draws: each with an element per operation as its last axis.
        length: of the chain.
    """

    def step(place: tf.Tensor, changed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return place + 1, apply(changed, *(each[..., place] for each in draws))

    # a loop keeps the graph small: unrolled, AugMix would hold 81 operations
    return tf.while_loop(lambda place, _: place < length, step, (tf.constant(0), image))[1]


def rand_augment(spec: RandAugment, stream: SeedStream) -> Transform:
    """Return RandAugment: ``spec.operations`` operations, drawn uniformly with replacement."""
    operations = rand_augment_operations()
    count, strength = spec.operations, spec.magnitude / _MAX_LEVEL

    def draw() -> Draws:
        numbers = stream.uniform((count,), 0, len(operations), tf.int32)
        return numbers, tf.fill((count,), strength), _signs(stream, (count,))

    def apply(image: tf.Tensor, *draws: tf.Tensor) -> tf.Tensor:
        return _chain(partial(apply_one, operations), image, draws, count)

    def apply_to_batch(images: tf.Tensor, *draws: tf.Tensor) -> tf.Tensor:
        return _chain(partial(apply_one_each, operations), images, draws, count)

    return Transform(draw, apply, apply_to_batch)


def aug_mix(spec: AugMix, stream: SeedStream) -> Transform:
    """Return AugMix: chains of one to three operations, blended, and blended with the image.

    Weights of the chains are drawn from a Dirichlet distribution and the weight of their blend from
    a Beta distribution, both with parameters 1, as in the paper. Its consistency loss is not used.
    """
    operations = aug_mix_operations()
    shape = (spec.chains, _MAX_DEPTH)

    def draw() -> Draws:
        numbers = stream.uniform(shape, 0, len(operations), tf.int32)
        strengths = stream.uniform(shape, 0.1, max(0.1, spec.severity)) / _MAX_LEVEL
        signs = _signs(stream, shape)
        depths = stream.uniform((spec.chains,), 1, _MAX_DEPTH + 1, tf.int32)
        return (
            numbers,
            strengths,
            signs,
            depths,
            stream.dirichlet(spec.chains),
            stream.beta(1.0, ()),
        )

    def apply(image: tf.Tensor, *draws: tf.Tensor) -> tf.Tensor:
        *chains, depths, weights, share = draws

        def add(number: tf.Tensor, blend: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = tuple(each[..., number, :] for each in chains)
            weight = share * weights[number]
            changed = _chain(partial(apply_one, operations), image, drawn, depths[number])
            return number + 1, blend + weight * changed

        start = (tf.constant(0), (1 - share) * image)
        return tf.while_loop(lambda number, _: number < spec.chains, add, start)[1]

    def apply_to_batch(images: tf.Tensor, *draws: tf.Tensor) -> tf.Tensor:
        *chains, depths, weights, share = draws

        def add(number: tf.Tensor, blend: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            drawn = tuple(each[..., number, :] for each in chains)  # [B, depth]
            weight = per_image(share * weights[:, number])
            changed = _chains(operations, images, drawn, depths[:, number])
            return number + 1, blend + weight * changed

        start = (tf.constant(0), per_image(1 - share) * images)
        return tf.while_loop(lambda number, _: number < spec.chains, add, start)[1]

    return Transform(draw, apply, apply_to_batch)


def _chains(
    operations: Sequence[Operation], images: tf.Tensor, draws: Draws, lengths: tf.Tensor
) -> tf.Tensor:
    """Return a batch after chains of the given lengths [B]."""
    places = tf.range(_MAX_DEPTH) < lengths[:, tf.newaxis]  # [B, depth]

    def apply(changed: tf.Tensor, active: tf.Tensor, *drawn: tf.Tensor) -> tf.Tensor:
        result = apply_one_each(operations, changed, *drawn)
        return tf.where(per_image(active), result, changed)

    return _chain(apply, images, (places, *draws), _MAX_DEPTH)


def _signs(stream: SeedStream, shape: tuple[int, ...]) -> tf.Tensor:
    return tf.where(stream.uniform(shape) < 0.5, -1.0, 1.0)
