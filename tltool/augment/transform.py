"""A transform in two halves: its random draws, and what they do to one image or to a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

Draws = tuple[tf.Tensor, ...]


@dataclass(frozen=True)
class Transform:
    """One random transform.

    The halves are apart so that the draws can be made on the CPU, where they cost nothing, and the
    pixels can be computed in batches on a GPU from the same draws.

    Attributes:
        draw: returns the draws of one image.
        apply: (image float32 [H, W, 3] in 0…255, *draws) to the same.
        apply_to_batch: (images float32 [B, H, W, 3], *draws of each image [B, …]) to the same,
            equal to ``apply`` image by image within rounding; None if it only exists for a CPU.
    """

    draw: Callable[[], Draws]
    apply: Callable[..., tf.Tensor]
    apply_to_batch: Callable[..., tf.Tensor] | None


def per_image(values: tf.Tensor) -> tf.Tensor:
    """Return one value of each image, [B], so that it applies to all pixels: [B, 1, 1, 1]."""
    return tf.reshape(values, [-1, 1, 1, 1])
