"""ResNet-18/34 in torchvision's layout (symmetric padding), and two tiny nets for tests.

Layer names are torchvision's module names with dots turned into underscores, so that its
published weights load by name. keras.applications has no ResNet with basic blocks.
"""

from __future__ import annotations

from typing import Any, Literal

from keras import layers

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def build_resnet(depth: Literal[18, 34], images: Any) -> Any:
    """Return the ``[B, ceil(H/32), ceil(W/32), 512]`` features of a ResNet-18 or -34.

    Args:
        depth: 18 or 34.
        images: preprocessed float ``[B, H, W, 3]`` symbolic tensor.

    Reference: He et al. 2016, https://arxiv.org/abs/1512.03385
    """
    x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
    x = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1")(x)
    x = layers.ReLU(name="relu")(_batch_norm(x, "bn1"))
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # zeros never win: x is past a ReLU
    x = layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    for stage, count in enumerate(_BLOCKS[depth], start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(x, 32 * 2**stage, stride, f"layer{stage}_{block}")
    return x


def _basic_block(x: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = layers.Conv2D(
            filters, 1, strides=stride, use_bias=False, name=f"{name}_downsample_0"
        )(x)
        shortcut = _batch_norm(shortcut, f"{name}_downsample_1")
    y = _conv3x3(x, filters, stride, f"{name}_conv1")
    y = layers.ReLU(name=f"{name}_relu")(_batch_norm(y, f"{name}_bn1"))
    y = _batch_norm(_conv3x3(y, filters, 1, f"{name}_conv2"), f"{name}_bn2")
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, y]))


def _conv3x3(x: Any, filters: int, stride: int, name: str) -> Any:
    # padding="same" with stride 2 pads right and bottom only; torchvision pads all round.
    padded = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=name)(padded)


def _batch_norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def build_tiny_vgg(images: Any) -> Any:
    """Return the ``[B, H/8, W/8, 32]`` features of three conv-pool blocks (for tests)."""
    x = images
    for block, filters in enumerate((8, 16, 32), start=1):
        x = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"block{block}_conv1"
        )(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def build_tiny_resnet(images: Any) -> Any:
    """Return the ``[B, H/8, W/8, 64]`` features of a stem and three basic blocks (for tests).

    No shortcut starts from fewer than 16 channels: there oneDNN's gradient of a 1x1 kernel with
    stride 2 writes past its memory for some batches (TensorFlow 2.21, 3 and 8 channels).
    """
    x = layers.ReLU(name="relu")(_batch_norm(_conv3x3(images, 16, 1, "conv1"), "bn1"))
    for block, filters in enumerate((16, 32, 64), start=1):
        x = _basic_block(x, filters, 2, f"block{block}")
    return x
