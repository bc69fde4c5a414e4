"""Transforms of one image by given amounts: affine, colour, blur, noise, JPEG and GridMask.

Nothing here is random. Images are float32 [H, W, 3] in 0…255; amounts are scalars, float32 unless
stated otherwise. Several keras-cv 0.9 layers are not used because of defects: RandomGaussianBlur
darkens the borders (it pads with zeros), RandomShear shears about a corner and so shifts the image
as well, and GridMask hides more than its ratio (a rotated mask is interpolated, and every pixel
above zero counts).
"""

from __future__ import annotations

import math

import tensorflow as tf

_GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601, as in Pillow


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
    cos, sin = tf.cos(angle), tf.sin(angle)
    # the forward map: first the shear, then the rotation with the zoom
    across, down = tf.cast(shear[0], tf.float32), tf.cast(shear[1], tf.float32)
    a, b = scale * (cos + sin * down), scale * (cos * across + sin)
    c, d = scale * (-sin + cos * down), scale * (-sin * across + cos)
    determinant = a * d - b * c
    a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
    x, y = (width - 1) / 2, (height - 1) / 2
    from_x, from_y = x + shift[0], y + shift[1]
    # the operation expects the inverse map, from output to input coordinates
    row = [a, b, x - a * from_x - b * from_y, c, d, y - c * from_x - d * from_y, 0.0, 0.0]
    transformed = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.stack([tf.cast(number, tf.float32) for number in row])[tf.newaxis],
        output_shape=tf.constant([height, width]),
        interpolation="BILINEAR",
        fill_mode="REFLECT" if fill is None else "CONSTANT",
        fill_value=0.0 if fill is None else fill,
    )
    return transformed[0]


def as_rows(image: tf.Tensor) -> tf.Tensor:
    """Return the image as [H, W · 3].

    Operations along an axis as short as that of the channels are several times slower.
    """
    return tf.reshape(image, [image.shape[0], -1])


def grey(image: tf.Tensor) -> tf.Tensor:
    """Return the image as greyscale, three equal channels."""
    return _channels_times(image, tf.tile(tf.constant(_GREY)[:, tf.newaxis], [1, 3]))


def brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply all values."""
    return _clipped(image * factor)


def contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the mean grey level."""
    means = tf.reduce_mean(tf.reshape(tf.reduce_mean(as_rows(image), axis=0), [-1, 3]), axis=0)
    return _from(tf.reduce_sum(means * tf.constant(_GREY)), image, factor)


def saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance of all values from the pixel's grey level."""
    to_grey = tf.tile(tf.constant(_GREY)[:, tf.newaxis], [1, 3])
    return _clipped(_channels_times(image, (1 - factor) * to_grey + factor * tf.eye(3)))


def sharpness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply the distance from the smoothed image (Pillow's 3×3 filter), except at the border."""
    rows = as_rows(image)
    middle = rows[1:-1, 3:-3]
    three = rows[:-2] + rows[1:-1] + rows[2:]
    nine = three[:, :-6] + three[:, 3:-3] + three[:, 6:]
    sharpened = _from((nine + 4 * middle) / 13, middle, factor)
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
    places = tf.range(-reach, reach + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(places) / (2 * tf.square(tf.maximum(sigma, 1e-3))))
    weights /= tf.reduce_sum(weights)
    padded = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]], mode="REFLECT")
    # channels as a batch of one-channel images: the convolution is far faster
    stacked = tf.transpose(padded, [2, 0, 1])[..., tf.newaxis]
    rows = tf.nn.conv2d(stacked, weights[tf.newaxis, :, tf.newaxis, tf.newaxis], 1, "VALID")
    both = tf.nn.conv2d(rows, weights[:, tf.newaxis, tf.newaxis, tf.newaxis], 1, "VALID")
    return tf.transpose(both[..., 0], [1, 2, 0])


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
        tf.range(image.shape[1], dtype=tf.float32), tf.range(image.shape[0], dtype=tf.float32)
    )
    across = tf.math.floormod(tf.cos(angle) * x - tf.sin(angle) * y + offset[0], unit)
    down = tf.math.floormod(tf.sin(angle) * x + tf.cos(angle) * y + offset[1], unit)
    masked = (across < hidden * unit) & (down < hidden * unit)
    return tf.where(masked[..., tf.newaxis], fill, image)


def _channels_times(image: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.matmul(tf.reshape(image, [-1, 3]), matrix), image.shape)


def _from(anchor: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _clipped(anchor + (image - anchor) * factor)


def _clipped(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, 0.0, 255.0)
