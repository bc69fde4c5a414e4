"""Transforms of one image by given amounts: affine, colour, histogram, blur, noise, JPEG, GridMask.

Nothing here is random. Images are float32 [H, W, 3] in 0…255; amounts are scalars, float32 unless
stated otherwise. Several keras-cv 0.9 layers are not used because of defects: RandomGaussianBlur
darkens the borders (it pads with zeros), RandomShear shears about a corner and so shifts the image
as well, and GridMask hides more than its ratio (a rotated mask is interpolated, and every pixel
above zero counts).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as in Pillow


def affine(
    image: tf.Tensor,
    *,
    angle: tf.Tensor | float = 0.0,
    shift: tuple[tf.Tensor | float, tf.Tensor | float] = (0.0, 0.0),
    scale: tf.Tensor | float = 1.0,
    shear: tuple[tf.Tensor | float, tf.Tensor | float] = (0.0, 0.0),
    fill: float | None = None,
) -> tf.Tensor:
    """Shear, rotate, zoom and shift an image about its centre, in one bilinear interpolation.

    Args:
        image: the image.
        angle: rotation, radians, counter-clockwise.
        shift: to the right and down, pixels.
        scale: zoom factor; above 1 the image is enlarged.
        shear: pixels to the right per row, and down per column.
        fill: grey level outside of the image; None reflects the image there.
    """
    height, width = image.shape[0], image.shape[1]
    row = inverse_map((height, width), angle=angle, shift=shift, scale=scale, shear=shear)
    transformed = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack([tf.cast(number, tf.float32) for number in row])[tf.newaxis],
        output_shape=tf.constant([height, width]),
        interpolation="BILINEAR",
        fill_mode="REFLECT" if fill is None else "CONSTANT",
        fill_value=0.0 if fill is None else fill,
    )
    return transformed[0]


def inverse_map(
    size: tuple[int, int],
    *,
    angle: tf.Tensor | float,
    shift: tuple[tf.Tensor | float, tf.Tensor | float],
    scale: tf.Tensor | float,
    shear: tuple[tf.Tensor | float, tf.Tensor | float],
) -> list[tf.Tensor | float]:
    """Return the eight numbers that map output to input coordinates in ``affine``.

    Amounts are those of ``affine``, each a scalar, or [B] for the maps of B images.
    """
    height, width = size
    cos, sin = tf.cos(angle), tf.sin(angle)
    # the forward map: first the shear, then the rotation with the zoom
    across, down = tf.cast(shear[0], tf.float32), tf.cast(shear[1], tf.float32)
    a, b = scale * (cos + sin * down), scale * (cos * across + sin)
    c, d = scale * (-sin + cos * down), scale * (-sin * across + cos)
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    x, y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = x + shift[0], y + shift[1]
    return [a, b, x - a * from_x - b * from_y, c, d, y - c * from_x - d * from_y, 0.0, 0.0]


def translate(image: tf.Tensor, share: tf.Tensor, *, vertical: bool, fill: float) -> tf.Tensor:
    """Shift by a fraction of the side, rounded to whole pixels, from outside at level ``fill``."""
    axis = 0 if vertical else 1
    side = image.shape[axis]
    # whole pixels: slicing and padding cost a tenth of an interpolation
    shift = tf.cast(tf.round(share * side), tf.int32)
    before, after = tf.maximum(shift, 0), tf.maximum(-shift, 0)
    kept = image[after : side - before] if vertical else image[:, after : side - before]
    borders = [[0, 0], [0, 0], [0, 0]]
    borders[axis] = [before, after]
    return tf.pad(kept, borders, constant_values=fill)


def as_rows(image: tf.Tensor) -> tf.Tensor:
    """Return the image as [H, W · 3].

    Operations along an axis as short as that of the channels are several times slower.
    """
    return tf.reshape(image, [image.shape[0], -1])


def grey(image: tf.Tensor) -> tf.Tensor:
    """Return the image as greyscale, three equal channels."""
    return _channels_times(image, tf.tile(tf.constant(LUMA)[:, tf.newaxis], [1, 3]))


def brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply all values."""
    return _clipped(image * factor)


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the mean grey level."""
    means = tf.reduce_mean(tf.reshape(tf.reduce_mean(as_rows(image), axis=0), [-1, 3]), axis=0)
    return extrapolate(tf.reduce_sum(means * tf.constant(LUMA)), image, factor)


def saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the pixel's grey level."""
    to_grey = tf.tile(tf.constant(LUMA)[:, tf.newaxis], [1, 3])
    return _clipped(_channels_times(image, (1 - factor) * to_grey + factor * tf.eye(3)))


def sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance from the smoothed image (Pillow's 3×3 filter), except at the border."""
    rows = as_rows(image)
    middle = rows[1:-1, 3:-3]
    three = rows[:-2] + rows[1:-1] + rows[2:]
    nine = three[:, :-6] + three[:, 3:-3] + three[:, 6:]
    sharpened = extrapolate((nine + 4 * middle) / 13, middle, factor)
    between = tf.concat([rows[1:-1, :3], sharpened, rows[1:-1, -3:]], axis=1)
    return tf.reshape(tf.concat([rows[:1], between, rows[-1:]], axis=0), image.shape)


def hue(image: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Shift all hues by a fraction of the colour circle, -0.5…0.5."""
    return tf.image.adjust_hue(image / 255, shift) * 255


def add_noise(image: tf.Tensor, numbers: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """Add standard normal ``numbers`` (of the image's shape) times ``deviation``, grey levels."""
    return _clipped(image + numbers * deviation)


def gaussian_blur(image: tf.Tensor, sigma: tf.Tensor, *, largest: float) -> tf.Tensor:
    """Convolve with a Gaussian of standard deviation ``sigma`` pixels; borders are mirrored.

    ``largest`` is the largest possible sigma: it determines the size of the kernel.
    """
    reach = min(math.ceil(3 * largest), image.shape[0] - 1, image.shape[1] - 1)
    weights = gaussian_weights(sigma, reach)
    padded = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]], mode="REFLECT")
    # channels as a batch of one-channel images: the convolution is far faster
    stacked = tf.transpose(padded, [2, 0, 1])[..., tf.newaxis]
    rows = tf.nn.conv2d(stacked, weights[tf.newaxis, :, tf.newaxis, tf.newaxis], 1, "VALID")
    both = tf.nn.conv2d(rows, weights[:, tf.newaxis, tf.newaxis, tf.newaxis], 1, "VALID")
    return tf.transpose(both[..., 0], [1, 2, 0])


def gaussian_weights(sigma: tf.Tensor, reach: int) -> tf.Tensor:
    """Return the kernel from -reach to reach, float32 [..., 2 · reach + 1], which adds up to 1.

    Args:
        sigma: standard deviation, pixels, a scalar or [B, 1] for B kernels.
        reach: of the kernel to each side, pixels.
    """
    places = tf.range(-reach, reach + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(places) / (2 * tf.square(tf.maximum(sigma, 1e-3))))
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def jpeg(image: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Return the image after JPEG compression of ``quality``, int32 1…100."""
    whole = tf.cast(tf.round(_clipped(image)), tf.uint8)
    data = tf.raw_ops.EncodeJpegVariableQuality(images=whole, quality=quality)
    return tf.cast(tf.ensure_shape(tf.io.decode_jpeg(data, channels=3), image.shape), tf.float32)


def grid_mask(
    image: tf.Tensor,
    *,
    unit: tf.Tensor,
    hidden: float,
    offset: tuple[tf.Tensor, tf.Tensor],
    angle: tf.Tensor,
    fill: float,
) -> tf.Tensor:
    """Hide a square in every cell of a rotated grid (Chen et al. 2020, arXiv:2001.04086).

    Args:
        image: the image.
        unit: side of a cell of the grid, pixels.
        hidden: side of the hidden squares as a fraction of the cell's.
        offset: origin of the grid, x and y, pixels.
        angle: rotation of the grid, radians.
        fill: grey level of the hidden squares.
    """
    x, y = tf.meshgrid(
        tf.range(image.shape[-2], dtype=tf.float32), tf.range(image.shape[-3], dtype=tf.float32)
    )
    across = tf.math.floormod(tf.cos(angle) * x - tf.sin(angle) * y + offset[0], unit)
    down = tf.math.floormod(tf.sin(angle) * x + tf.cos(angle) * y + offset[1], unit)
    masked = (across < hidden * unit) & (down < hidden * unit)
    return tf.where(masked[..., tf.newaxis], fill, image)


def auto_contrast(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    """Stretch each channel to 0…255; a constant channel is unchanged."""
    rows = as_rows(image)
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
    rows = tf.cast(tf.clip_by_value(as_rows(image), 0.0, 255.0), tf.int32)
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


def _channels_times(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), matrix), image.shape)


def extrapolate(anchor: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from ``anchor``."""
    return _clipped(anchor + (image - anchor) * factor)


def _clipped(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 255.0)
