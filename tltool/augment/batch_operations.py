"""The operations of ``pixel_operations`` and RandAugment on a batch, for a GPU.

On a GPU one operation on a batch is far faster than one on each of its images. Images are float32
[B, H, W, 3] in 0…255; amounts are of each image, float32 [B]. Results are equal to those of the
operations on single images within rounding. Nothing here is random.

Two habits are for GPUs. Nothing is a matrix product or a convolution: these may compute in TF32,
which keeps three decimal digits. And whole numbers are float32: TensorFlow computes with int32 on
the CPU, and waits for all earlier work of the GPU to copy them there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from tltool.augment import pixel_operations
from tltool.augment.pixel_operations import LUMA, extrapolate
from tltool.augment.transform import per_image

Amount: TypeAlias = tf.Tensor | float


def affine(
    images: tf.Tensor,
    *,
    angle: Amount = 0.0,
    shift: tuple[Amount, Amount] = (0.0, 0.0),
    scale: Amount = 1.0,
    shear: tuple[Amount, Amount] = (0.0, 0.0),
    fill: float | None = None,
) -> tf.Tensor:
    """Shear, rotate, zoom and shift images about their centres, in one bilinear interpolation."""
    size = images.shape[1], images.shape[2]
    rows = pixel_operations.inverse_map(size, angle=angle, shift=shift, scale=scale, shear=shear)
    return _projected(images, rows, "REFLECT" if fill is None else "CONSTANT", fill or 0.0)


def crop_and_resize(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Return parts of the images, enlarged to the full size.

    ``tf.image.crop_and_resize`` waits on a GPU for all earlier work; the map is the same.

    Args:
        images: the images.
        boxes: y1, x1, y2, x2 of each, as fractions of the sides, float32 [B, 4].
    """
    height, width = images.shape[1] - 1, images.shape[2] - 1
    y1, x1, y2, x2 = tf.unstack(boxes, axis=1)
    return _projected(
        images, [x2 - x1, 0.0, x1 * width, 0.0, y2 - y1, y1 * height, 0.0, 0.0], "NEAREST", 0.0
    )


def _projected(images: tf.Tensor, rows: list[Amount], mode: str, fill: float) -> tf.Tensor:
    columns = [tf.broadcast_to(tf.cast(row, tf.float32), tf.shape(images)[:1]) for row in rows]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(columns, axis=1),
        output_shape=tf.constant([images.shape[1], images.shape[2]]),
        interpolation="BILINEAR",
        fill_mode=mode,
        fill_value=fill,
    )


def translate(images: tf.Tensor, share: tf.Tensor, *, vertical: bool, fill: float) -> tf.Tensor:
    """Shift by a fraction of the side, rounded to whole pixels."""
    axis = 1 if vertical else 2
    side = images.shape[axis]
    # [B, side]: where each pixel comes from
    places = tf.range(float(side)) - tf.round(share * side)[:, tf.newaxis]
    nearest = tf.cast(tf.clip_by_value(places, 0.0, side - 1.0), tf.int32)
    moved = tf.gather(images, nearest, axis=axis, batch_dims=1)
    inside = (places >= 0) & (places < side)
    inside = inside[:, :, tf.newaxis] if vertical else inside[:, tf.newaxis]
    return tf.where(inside[..., tf.newaxis], moved, fill)


def grey(images: tf.Tensor) -> tf.Tensor:
    """Return images as greyscale, three equal channels."""
    return tf.broadcast_to(_luma(images), tf.shape(images))


def brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply all values."""
    return pixel_operations.brightness(images, per_image(factor))


def contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the mean grey level of the image."""
    means = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return extrapolate(_luma(means), images, per_image(factor))


def saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the pixel's grey level."""
    return extrapolate(_luma(images), images, per_image(factor))


def sharpness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance from the smoothed image (Pillow's 3×3 filter), except at the border."""
    middle = images[:, 1:-1, 1:-1]
    three = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    nine = three[:, :, :-2] + three[:, :, 1:-1] + three[:, :, 2:]
    sharpened = extrapolate((nine + 4 * middle) / 13, middle, per_image(factor))
    between = tf.concat([images[:, 1:-1, :1], sharpened, images[:, 1:-1, -1:]], axis=2)
    return tf.concat([images[:, :1], between, images[:, -1:]], axis=1)


def hue(images: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shift all hues by a fraction of the colour circle, -0.5…0.5."""
    hues, saturations, values = tf.unstack(tf.image.rgb_to_hsv(images / 255), axis=-1)
    turned = tf.math.floormod(hues + shift[:, tf.newaxis, tf.newaxis], 1.0)
    return tf.image.hsv_to_rgb(tf.stack([turned, saturations, values], axis=-1)) * 255


def add_noise(images: tf.Tensor, numbers: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """Add standard normal ``numbers`` (of the images' shape) times ``deviation``, grey levels."""
    return pixel_operations.add_noise(images, numbers, per_image(deviation))


def gaussian_blur(images: tf.Tensor, sigma: tf.Tensor, *, largest: float) -> tf.Tensor:
    """Convolve with Gaussians of standard deviation ``sigma`` pixels; borders are mirrored."""
    height, width = images.shape[1], images.shape[2]
    reach = min(math.ceil(3 * largest), height - 1, width - 1)
    weights = pixel_operations.gaussian_weights(sigma[:, tf.newaxis], reach)  # [B, 2 · reach + 1]
    padded = tf.pad(images, [[0, 0], [reach, reach], [reach, reach], [0, 0]], mode="REFLECT")
    taps = [per_image(tap) for tap in tf.unstack(weights, axis=1)]
    rows = tf.zeros_like(padded[:, :, :width])
    for place, tap in enumerate(taps):
        rows += tap * padded[:, :, place : place + width]
    both = tf.zeros_like(images)
    for place, tap in enumerate(taps):
        both += tap * rows[:, place : place + height]
    return both


def grid_mask(
    images: tf.Tensor,
    *,
    unit: tf.Tensor,
    hidden: float,
    offset: tuple[tf.Tensor, tf.Tensor],
    angle: tf.Tensor,
    fill: float,
) -> tf.Tensor:
    """Hide a square in every cell of a rotated grid."""
    unit, x, y, angle = (number[:, tf.newaxis, tf.newaxis] for number in (unit, *offset, angle))
    return pixel_operations.grid_mask(
        images, unit=unit, hidden=hidden, offset=(x, y), angle=angle, fill=fill
    )


def auto_contrast(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Stretch each channel to 0…255; a constant channel is unchanged."""
    low = tf.reduce_min(images, axis=[1, 2], keepdims=True)
    span = tf.reduce_max(images, axis=[1, 2], keepdims=True) - low
    factor = tf.where(span > 0, tf.math.divide_no_nan(255.0, span), 1.0)
    return (images - tf.where(span > 0, low, 0.0)) * factor


def equalize(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Equalise the histogram of each channel, as Pillow does.

    Values are counted by sorting: TensorFlow's histogram has no deterministic kernel on a GPU.
    """
    pixels = images.shape[1] * images.shape[2]
    whole = tf.floor(tf.clip_by_value(images, 0.0, 255.0))
    channels = tf.reshape(tf.transpose(whole, [0, 3, 1, 2]), [-1, pixels])  # [3 B, H W]
    ordered = tf.sort(channels, axis=1)
    levels = tf.tile(tf.range(256.0)[tf.newaxis], [tf.shape(channels)[0], 1])
    below = tf.cast(tf.searchsorted(ordered, levels), tf.float32)  # values less than each level
    greatest = tf.cast(ordered[:, -1:], tf.int32)
    step = _quotient(tf.gather(below, greatest, batch_dims=1), 255.0)
    table = _quotient(below + _quotient(step, 2.0), tf.maximum(step, 1.0))
    table = tf.where(step > 0, tf.minimum(table, 255.0), tf.range(256.0))
    equalized = tf.gather(table, tf.cast(channels, tf.int32), batch_dims=1)
    by_channel = tf.reshape(equalized, [-1, 3, images.shape[1], images.shape[2]])
    return tf.transpose(by_channel, [0, 2, 3, 1])


def elementwise(
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return an operation on a batch for one on an image that computes pixel by pixel."""
    return lambda images, amount: change(images, per_image(amount))


def _quotient(dividend: tf.Tensor, divisor: Amount) -> tf.Tensor:
    """Return the quotient of whole numbers below 2**24, rounded down; the half keeps it exact."""
    return tf.floor((dividend + 0.5) / divisor)


def _luma(images: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(images * tf.constant(LUMA), axis=-1, keepdims=True)
