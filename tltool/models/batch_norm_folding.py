"""Batch normalisation in inference: folded into the convolution before it, or one operation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import tensorflow as tf

_VERSION = 1  # increase it if a change here changes features


def folded(model: keras.Model) -> keras.Model:
    """Return a model for inference that computes the same with fewer operations.

    In inference batch normalisation is y = s * x + t with constants s and t for each channel.
    After a convolution with kernel k and bias b, it is the convolution with kernel s * k and bias
    s * b + t, which oneDNN runs as one operation with the ReLU that follows. The kernel is
    multiplied at each call, from the current variables: nothing is copied, and the result is never
    out of date. Constants in the graph would be some percent faster, but they take seconds to
    prepare and a second copy of the weights (`benchmarks/frozen_trunk.py`).
    Reference: Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2

    Args:
        model: a functional model that shares its variables with the result.

    Returns:
        The model, to be called with ``training=False`` only; its inputs and outputs are the same.
        Its float32 outputs differ by rounding, about 1e-6 of the largest. A model without batch
        normalisation, or with a model as a layer, is returned itself.

    Examples:
        >>> to_pooled = folded(network.images_to_pooled)
        >>> pooled = to_pooled(images, training=False)
    """
    norms = _foldable(model)
    if not norms:
        return model
    convolutions = _convolutions(model)
    before = {norm.name: convolutions.get(id(norm.input)) for norm in norms}
    inside = {convolution.name for convolution in before.values() if convolution}

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer.name in inside:
            return args[0]
        if layer.name in before:
            convolution = before[layer.name]
            return (FoldedConv2D(convolution, layer) if convolution else FusedNorm(layer))(args[0])
        return layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=_same_layer, call_function=call)


class FoldedConv2D(keras.layers.Layer):
    """A convolution with the batch normalisation that follows, by the variables of both.

    Args:
        convolution: without activation, [B, H, W, C] to [B, h, w, F].
        norm: over the F channels.
    """

    def __init__(
        self, convolution: keras.layers.Conv2D, norm: keras.layers.BatchNormalization
    ) -> None:
        # without autocast the kernel is multiplied in float32 under every dtype policy
        super().__init__(name=f"{norm.name}_folded", dtype=convolution.dtype_policy, autocast=False)
        self.convolution, self.norm = convolution, norm

    def call(self, inputs: Any) -> Any:
        """Return the normalised output, of the layer's compute dtype."""
        inputs = keras.ops.cast(inputs, self.compute_dtype)
        scale, shift = _scale_and_shift(self.norm)
        if self.convolution.use_bias:
            shift += scale * self.convolution.bias
        kernel = keras.ops.cast(scale * self.convolution.kernel, inputs.dtype)
        outputs = keras.ops.conv(
            inputs,
            kernel,
            strides=self.convolution.strides,
            padding=self.convolution.padding,
            dilation_rate=self.convolution.dilation_rate,
        )
        shift = keras.ops.reshape(shift, (1, 1, 1, -1))  # as Keras' Conv2D, which oneDNN fuses
        return outputs + keras.ops.cast(shift, outputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """Return the shape of the convolution's output."""
        return self.convolution.compute_output_shape(input_shape)


class FusedNorm(keras.layers.Layer):
    """Batch normalisation of [B, H, W, C] in inference as one operation; Keras takes two.

    Args:
        norm: over the channels.
    """

    def __init__(self, norm: keras.layers.BatchNormalization) -> None:
        super().__init__(name=f"{norm.name}_fused", dtype=norm.dtype_policy, autocast=False)
        self.norm = norm

    def call(self, inputs: Any) -> Any:
        """Return the normalised inputs, of the same shape and dtype."""
        mean, variance = self.norm.moving_mean, self.norm.moving_variance
        ones, zeros = tf.ones_like(mean), tf.zeros_like(mean)
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.norm.gamma if self.norm.scale else ones,
            offset=self.norm.beta if self.norm.center else zeros,
            mean=mean,
            variance=variance,
            epsilon=self.norm.epsilon,
            is_training=False,
        ).y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> Any:
        """Return ``input_shape``."""
        return input_shape


def folding_version(model: keras.Model) -> tuple[str, ...]:
    """Return what belongs into the key of cached features of ``folded(model)``.

    It is empty where the model is not changed.
    """
    return (f"folded-{_VERSION}",) if _foldable(model) else ()


def _foldable(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the normalisations over channels of images; none if a layer is a model itself."""
    if any(isinstance(layer, keras.Model) for layer in model.layers):
        return []
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        and len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
    ]


def _convolutions(model: keras.Model) -> dict[int, keras.layers.Conv2D]:
    """Return the linear convolutions whose output one layer takes, by the id of that output."""
    used = Counter(
        id(tensor)
        for operation in model.operations  # such as an addition without a layer
        if not isinstance(operation, keras.layers.InputLayer)
        for tensor in keras.tree.flatten(operation.input)
    )
    used.update(id(tensor) for tensor in keras.tree.flatten(model.outputs))
    return {
        id(layer.output): layer
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D
        and layer.activation is keras.activations.linear
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and used[id(layer.output)] == 1
    }


def _scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[Any, Any]:
    """Return s and t, float32 [C] each, of y = s * x + t."""
    scale = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma
    shift = -scale * norm.moving_mean
    return scale, shift + norm.beta if norm.center else shift


def _same_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer
