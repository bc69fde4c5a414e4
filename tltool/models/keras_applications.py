"""Networks of ``keras.applications``: rebuilt flat, without preprocessing, with stable names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from typing import Any

import keras
from keras import layers

from tltool.models.preprocessing import PREPROCESS

# Input scaling, which the preprocessing does, and stochastic depth, which the recipe sets.
_LEFT_OUT = (layers.Rescaling, layers.Normalization, layers.Dropout)
_BLOCK = re.compile(r"(\w+_block_\d+|block\d+(?:_\d+)?)_[a-z]")
_AUTOMATIC = re.compile(r"add(_\d+)?")


def build_application(builder: str, preprocessed: Callable[[], Any]) -> keras.Model:
    """Return a network of ``keras.applications`` without its classifier, from images to features.

    Keras builds the network, and it is rebuilt as one flat model of layers:

    - its own scaling of pixels is left out: ``preprocessed`` does the same;
    - its own stochastic depth (EfficientNet) is left out: ``model.regularization`` sets it;
    - a model inside the model becomes its layers, and arithmetic on tensors becomes layers, so that
      every operation is in the table of layers and in every export;
    - automatic names, such as ``conv2d_17``, are those of a new process, whatever was built before.

    Its numbers are those of Keras, within rounding.

    Args:
        builder: name of a function of ``keras.applications``.
        preprocessed: returns preprocessed images, a new symbolic tensor at each call.
    """
    with ThreadPoolExecutor(1) as thread:  # Keras counts automatic names by thread
        original = thread.submit(_without_weights, builder, preprocessed).result()
    rebuilt = keras.models.clone_model(
        original, clone_function=_unchanged, call_function=_Rebuilding(original)
    )
    return keras.Model(rebuilt.inputs[0], rebuilt.outputs[0])


def _without_weights(builder: str, preprocessed: Callable[[], Any]) -> keras.Model:
    application = getattr(keras.applications, builder)
    options = {"include_preprocessing": False}
    known = {name: options[name] for name in options if name in signature(application).parameters}
    with keras.StatelessScope(initialize_variables=False):  # names and shapes: no weight is drawn
        pixels = preprocessed()
        return application(include_top=False, weights=None, input_tensor=pixels, **known)


def _unchanged(operation: Any) -> Any:
    return operation


class _Rebuilding:
    """Calls new layers in place of the operations of ``original``."""

    def __init__(self, original: keras.Model) -> None:
        pixels = keras.Model(original.input, original.get_layer(PREPROCESS).output)
        self._preprocessing = {id(operation) for operation in pixels.operations}
        self._producers = {
            id(tensor): operation.name
            for operation in original.operations
            for tensor in keras.tree.flatten(operation.output)
        }

    def __call__(self, operation: Any, *inputs: Any, **options: Any) -> Any:
        if id(operation) in self._preprocessing:
            config = {**operation.get_config(), "name": operation.name}
            return type(operation).from_config(config)(*inputs, **options)
        if isinstance(operation, _LEFT_OUT):
            return inputs[0]
        if isinstance(operation, keras.Sequential):
            return _chain(operation.layers, inputs[0])
        if type(operation).__name__ == "CustomScaleLayer":  # of Inception-ResNet-v2
            shortcut, residual = inputs[0]
            scaling = layers.Rescaling(operation.scale, name=self._block(operation) + "_scale")
            return layers.Add(name=self._block(operation) + "_add")([shortcut, scaling(residual)])
        if type(operation).__name__ == "Add":
            return self._added(operation, keras.tree.flatten(inputs))
        if not isinstance(operation, layers.Layer):  # a number times a tensor
            return layers.Rescaling(inputs[1], name=f"{operation.name}_scale")(inputs[0])
        if isinstance(operation, layers.Conv2D) and operation.groups == inputs[0].shape[-1]:
            return _depthwise(operation)(inputs[0])
        return _copied(operation)(*inputs)

    def _added(self, operation: Any, summands: Sequence[Any]) -> Any:
        if not isinstance(summands[1], keras.KerasTensor):
            name = f"{operation.name}_offset"
            return layers.Rescaling(1.0, offset=summands[1], name=name)(summands[0])
        name = operation.name
        if _AUTOMATIC.fullmatch(name):
            name = self._block(operation) + "_add"
        # in Keras' order, which is part of the order of layers, and of weights in files
        return layers.Add(name=name)(list(summands))

    def _block(self, operation: Any) -> str:
        """Return the name of the residual block that ends in this addition."""
        producers = [self._producers[id(tensor)] for tensor in operation.input]
        blocks = [found[1] for found in map(_BLOCK.match, producers) if found]
        return blocks[-1] if blocks else str(operation.name)


def _chain(steps: Sequence[layers.Layer], x: Any) -> Any:
    for step in steps:
        x = _copied(step)(x)
    return x


def _depthwise(layer: layers.Conv2D) -> layers.DepthwiseConv2D:
    """Return a depthwise layer for a convolution whose groups are single channels (ConvNeXt).

    Keras compiles a convolution in groups with XLA, which no converter to ONNX understands.
    """
    return layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        use_bias=layer.use_bias,
        name=layer.name,
    )


def _copied(layer: layers.Layer) -> layers.Layer:
    """Return a new layer of the same settings, with the dtype policy of this thread."""
    config = {key: value for key, value in layer.get_config().items() if key != "dtype"}
    return type(layer).from_config(config)
