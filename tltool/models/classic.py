"""Small networks that are trained from scratch."""

from __future__ import annotations

from typing import Any

from keras import layers


def build_digits_cnn(images: Any) -> Any:
    """Return the ``[B, H/4, W/4, 16]`` features of a LeNet-like network for digits.

    Two blocks of convolution, pooling and dropout: 8 filters of 5x5, then 16 of 3x3. With the head
    ``flatten`` of 256 units it is the usual first network for MNIST.

    Args:
        images: preprocessed float ``[B, H, W, 3]`` symbolic tensor.

    Reference: LeCun et al. 1998, https://doi.org/10.1109/5.726791
    """
    x = images
    for block, (filters, size) in enumerate(((8, 5), (16, 3)), start=1):
        conv = layers.Conv2D(
            filters, size, padding="same", activation="relu", name=f"conv{block}_conv"
        )
        x = layers.MaxPooling2D(2, name=f"conv{block}_pool")(conv(x))
        x = layers.Dropout(0.25, seed=block, name=f"conv{block}_drop")(x)
    return x
