"""The float-only endpoint of a model, and the files that other runtimes read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.errors import GateError
from tltool.export.formats import ExportFormat
from tltool.export.saved_model import float32_model
from tltool.models.head_parts import STANDARDIZE
from tltool.models.preprocessing import Preprocess

ONNX_OPSET = 17


class FloatEndpoint(tf.Module):  # type: ignore[misc]
    """Images float32 [N, H, W, 3] in 0…255 to probabilities [N, C], and nothing else.

    Args:
        model: images to logits; of any dtype policy.
        temperature: divides the logits before the softmax.
        integers: whether it will be computed in eight-bit integers.
    """

    def __init__(self, model: keras.Model, *, temperature: float, integers: bool = False) -> None:
        super().__init__(name="tltool")
        # without ReverseV2, which the LiteRT converter gives another 8-bit scale than its input
        network = of_built_in_layers(float32_model(model))
        if integers:
            network = with_even_weights(network)
        self.pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "images")

        @tf.function(input_signature=[self.pixels], autograph=False)
        def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = tf.cast(network(images, training=False), tf.float32)
            return {"probabilities": tf.nn.softmax(logits / temperature)}

        self.probabilities = probabilities
        self.concrete = probabilities.get_concrete_function()
        self.read_variables = list(self.concrete.graph.variables)


def write_converted(
    path: Path,
    known: ExportFormat,
    model: keras.Model,
    *,
    temperature: float,
    calibration: NDArray[np.float32] | None,
) -> None:
    """Write ``model`` as a file of the format ``known``.

    Args:
        path: the file.
        known: any format but the SavedModel.
        model: images to logits.
        temperature: divides the logits before the softmax.
        calibration: decoded training photos, float32 [N, H, W, 3]; litert-int8 needs them.

    Raises:
        GateError: the converter cannot do it.
        OSError: the file cannot be written.
    """
    if known.runtime == "keras":
        with_probabilities(float32_model(model), temperature).save(path)
        return
    integers = known.name == "litert-int8"
    endpoint = FloatEndpoint(model, temperature=temperature, integers=integers)
    try:
        content = (
            _onnx(endpoint) if known.runtime == "onnx" else _litert(endpoint, known, calibration)
        )
    except OSError:
        raise
    except Exception as error:  # converters raise whatever they like
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GateError(f"the model cannot be converted to {known.name}: {first}") from error
    path.write_bytes(content)


def _litert(
    endpoint: FloatEndpoint, known: ExportFormat, calibration: NDArray[np.float32] | None
) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([endpoint.concrete], endpoint)
    if known.name == "litert-fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if known.name == "litert-int8":
        if calibration is None:
            raise ValueError("no photos to calibrate on")
        photos = _with_both_ends(calibration)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([photo[np.newaxis]] for photo in photos)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    content: bytes = converter.convert()
    return content


def _with_both_ends(photos: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make one corner black and one white, so that the input's scale is 1: bytes go in as read."""
    photos = photos.copy()
    photos[0, 0, 0], photos[0, -1, -1] = 0.0, 255.0
    return photos


def _onnx(endpoint: FloatEndpoint) -> bytes:
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    proto, _ = tf2onnx.convert.from_function(
        endpoint.probabilities, input_signature=[endpoint.pixels], opset=ONNX_OPSET
    )
    content: bytes = proto.SerializeToString()
    return content


def with_probabilities(model: keras.Model, temperature: float) -> keras.Model:
    """Return a float32 ``model`` with the softmax inside and of built-in layers only."""
    plain = of_built_in_layers(model)
    logits = keras.layers.Rescaling(1.0 / temperature, name="temperature")(plain.output)
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(plain.input, probabilities, name=model.name)


def of_built_in_layers(model: keras.Model) -> keras.Model:
    """Return a float32 ``model`` whose preprocessing is a 1x1 convolution."""
    plain = keras.models.clone_model(model, clone_function=_built_in_layer)
    for old, new in zip(model.layers, plain.layers, strict=True):
        weights = _as_convolution(old) if isinstance(old, Preprocess) else old.get_weights()
        new.set_weights(weights)
    return plain


def with_even_weights(model: keras.Model) -> keras.Model:
    """Return ``model`` with no input of its last layer weighing more than another.

    Each is multiplied by its largest weight, and the weights are divided by it (Nagel et al. 2019,
    arXiv:1906.04721, section 4.1). A feature that is nearly always zero may have a weight a hundred
    times the others', which one scale of eight bits then rounds to zero: where the answers of such
    a head were 0.047 off, they are 0.008 off. Standardisation right before that layer is folded
    into it first. A model that does not end in a dense layer stays.
    """
    layers, head = keras.layers, model.layers[-1]
    if not isinstance(head, layers.Dense) or head.input.ndim != 2:
        return model
    features, kernel, bias = _end(model)
    largest = np.abs(kernel).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    scaling = layers.DepthwiseConv2D(1, use_bias=False)  # a weight and a scale for each feature
    even = layers.Dense(kernel.shape[1])
    flow = scaling(layers.Reshape((1, 1, len(largest)))(features))
    answers = even(layers.Reshape((len(largest),))(flow))
    scaling.set_weights([largest.reshape(1, 1, -1, 1)])
    even.set_weights([kernel / largest[:, np.newaxis], bias])
    return keras.Model(model.input, answers, name=model.name)


def _end(model: keras.Model) -> tuple[keras.KerasTensor, NDArray[Any], NDArray[Any]]:
    """Return the input of the last dense layer, its kernel [D, C] and its bias [C].

    Where nothing but dropout is between, they are those before the standardisation.
    """
    head = model.layers[-1]
    kernel, bias = np.asarray(head.kernel), np.asarray(head.bias)
    for layer in model.layers[-3:-1]:
        if layer.name == STANDARDIZE:
            scale = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
            kernel = kernel / scale[:, np.newaxis]
            return layer.input, kernel, bias - np.asarray(layer.moving_mean) @ kernel
    return head.input, kernel, bias


def _built_in_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, Preprocess):
        return keras.layers.Conv2D(
            layer.channels, 1, name=layer.name, dtype="float32", trainable=False
        )
    return type(layer).from_config(layer.get_config())


def _as_convolution(layer: Preprocess) -> list[Any]:
    """Return kernel and bias of the 1x1 convolution that does what ``layer`` does to a pixel."""
    pixels = np.concatenate([np.zeros((1, 3)), 255.0 * np.eye(3)]).astype(np.float32)
    answers = np.asarray(layer(pixels[:, np.newaxis, np.newaxis]), np.float64)[:, 0, 0]
    kernel = (answers[1:] - answers[0]) / 255.0
    return [kernel[np.newaxis, np.newaxis].astype(np.float32), answers[0].astype(np.float32)]
