"""Resize images of any size to the model's input size inside the graph, as decoding does."""

from __future__ import annotations

import tensorflow as tf

from tltool.data.decoding.decode import scaled_size
from tltool.data.decoding.decode_spec import DecodeSpec


def to_model_size(images: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    """Return ``images`` at the size of ``spec``; bit-identical if they already have it.

    The same steps as in `tltool.data.decoding.decode` for one decoded image, here for a batch.

    Args:
        images: float32 [N, H, W, 3], H and W unknown until run time.
        spec: the target size, and how images of another aspect ratio are resized.

    Returns:
        float32 [N, spec.height, spec.width, 3].
    """
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    same_size = (height == spec.height) & (width == spec.width)
    resized = tf.cond(same_size, lambda: images, lambda: _resized(images, spec))
    return tf.ensure_shape(resized, [None, spec.height, spec.width, 3])


def _resized(images: tf.Tensor, spec: DecodeSpec) -> tf.Tensor:
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    target = (spec.height, spec.width)
    if spec.resize == "crop":
        box = (
            tf.minimum(height, scaled_size(width, spec.height, spec.width)),
            tf.minimum(width, scaled_size(height, spec.width, spec.height)),
        )
        top, left = (height - box[0]) // 2, (width - box[1]) // 2
        images = images[:, top : top + box[0], left : left + box[1]]
    if spec.resize != "pad":
        return _antialiased(images, list(target))
    size = (
        tf.minimum(spec.height, scaled_size(height, spec.width, width)),
        tf.minimum(spec.width, scaled_size(width, spec.height, height)),
    )
    top, left = (spec.height - size[0]) // 2, (spec.width - size[1]) // 2
    inside = _antialiased(images, tf.stack(size))
    return tf.image.pad_to_bounding_box(inside, top, left, *target)


def _antialiased(images: tf.Tensor, size: tf.Tensor | list[int]) -> tf.Tensor:
    return tf.image.resize(images, size, method="bilinear", antialias=True)
