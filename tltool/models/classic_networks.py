"""Classic networks that are trained from scratch: LeNet-5, AlexNet, a small CNN for digits."""

from __future__ import annotations

from typing import Any

from keras import layers


def build_lenet5(images: Any) -> Any:
    """Return the features of LeNet-5: ``[B, 5, 5, 16]`` from ``[B, 32, 32, 1]``.

    C1 6 filters of 5x5 (28x28), S2 pooling (14x14), C3 16 filters of 5x5 (10x10), S4 pooling (5x5);
    with the head ``original`` (C5 120, F6 84, 10 classes) 61,706 parameters. As usual today, and
    unlike the paper, C3 is connected to all maps of S2, pooling has no weights, and the output is
    linear instead of radial basis functions. Average pooling and tanh are as in the paper.

    Args:
        images: preprocessed float ``[B, H, W, 1]`` symbolic tensor.

    Reference: after LeCun et al. 1998, https://doi.org/10.1109/5.726791
    """
    x = images
    for block, filters in enumerate((6, 16), start=1):
        x = layers.Conv2D(filters, 5, activation="tanh", name=f"conv{block}_conv")(x)
        x = layers.AveragePooling2D(2, name=f"conv{block}_pool")(x)
    return x


# filters, kernel, padding, whether 3x3 pooling with stride 2 follows
_ALEXNET = (
    (64, 11, 2, True),
    (192, 5, 2, True),
    (384, 3, 1, False),
    (256, 3, 1, False),
    (256, 3, 1, True),
)


def build_alexnet(images: Any) -> Any:
    """Return the features of AlexNet for one GPU: ``[B, 6, 6, 256]`` from ``[B, 224, 224, 3]``.

    This is the single-column network of 2014 as in torchvision (64, 192, 384, 256, 256 filters, the
    first 11x11 with stride 4); with the head ``original`` (two hidden layers of
    4096, dropout 0.5) and 1000 classes it has 61,100,840 parameters. The network of 2012, split
    over two GPUs, has 96, 256, 384, 384, 256 filters, every second layer in two groups, 61.0 M
    parameters, and local response normalisation, which later work found to be useless.

    Args:
        images: preprocessed float ``[B, H, W, 3]`` symbolic tensor.

    Reference: Krizhevsky et al. 2012, https://doi.org/10.1145/3065386; Krizhevsky 2014,
    https://arxiv.org/abs/1404.5997
    """
    x = images
    for stage, (filters, kernel, padding, pooled) in enumerate(_ALEXNET, start=1):
        x = layers.ZeroPadding2D(padding, name=f"conv{stage}_pad")(x)
        strides = 4 if stage == 1 else 1
        x = layers.Conv2D(
            filters, kernel, strides=strides, activation="relu", name=f"conv{stage}_conv"
        )(x)
        if pooled:
            x = layers.MaxPooling2D(3, strides=2, name=f"conv{stage}_pool")(x)
    return x


def build_digits_cnn(images: Any) -> Any:
    """Return the ``[B, H/4, W/4, 16]`` features of a LeNet-like network for digits.

    Two blocks of convolution, pooling and dropout: 8 filters of 5x5, then 16 of 3x3. With the head
    ``flatten`` of 256 units it is the usual first network for MNIST. Unlike LeNet-5 it pads, pools
    by maximum, and has ReLU, dropout and one hidden layer.

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
