"""Convert a model to LiteRT, ONNX, OpenVINO and Keras files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.errors import GateError, first_line
from tltool.export.export_formats import ExportFormat
from tltool.export.keras_file import write_keras_file
from tltool.export.litert_metadata import LitertDescription, with_metadata
from tltool.export.onnx_operations import register_erfc
from tltool.export.openvino_file import write_openvino
from tltool.export.saved_model import float32_model
from tltool.models.head_parts import STANDARDIZE
from tltool.models.preprocessing import PREPROCESS
from tltool.runs.temporary import temporary_problem

ONNX_OPSET = 17


class FloatEndpoint(tf.Module):
    """The function that converters take: images float32 [N, H, W, 3] in 0…255 to probabilities.

    Args:
        model: images to logits [N, C]; any dtype policy.
        temperature: divides the logits before the softmax.
        integers: whether it will be quantized to 8-bit integers.
    """

    def __init__(self, model: keras.Model, *, temperature: float, integers: bool = False) -> None:
        super().__init__(name="tltool")
        # avoids ReverseV2, whose output gets another 8-bit scale than its input in LiteRT
        network = with_built_in_layers(float32_model(model))
        if integers:
            network = with_equalized_features(network)
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
    export_format: ExportFormat,
    model: keras.Model,
    *,
    temperature: float,
    calibration: NDArray[np.float32] | None,
    class_names: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write ``model`` as a file of the format ``export_format``.

    Args:
        path: the file.
        export_format: any format except the SavedModel.
        model: images to logits.
        temperature: divides the logits before the softmax.
        calibration: decoded training images, float32 [N, H, W, 3]; required for litert-int8.
        class_names: written into a LiteRT file; none for a file without metadata.
        facts: ``name`` and ``licence`` of the model, for a LiteRT file.

    Raises:
        GateError: the conversion fails.
        EnvironmentProblem: the folder for temporary files cannot be used.
        OSError: the file cannot be written.
    """
    name, runtime = export_format.name, export_format.runtime
    if runtime == "keras":
        write_keras_file(with_probabilities(float32_model(model), temperature), path)
        return
    try:
        content = _convert(
            path, export_format, model, temperature=temperature, calibration=calibration
        )
    except OSError as error:  # converters write temporary files
        if runtime == "openvino":
            raise
        raise temporary_problem(error.strerror or str(error)) from error
    except Exception as error:  # converters raise errors of any type
        raise GateError(f"the model cannot be converted to {name}: {first_line(error)}") from error
    if runtime == "litert" and class_names:
        content = with_metadata(content, _describe(model, name, class_names, facts or {}))
    path.write_bytes(content)


def _describe(
    model: keras.Model, name: str, class_names: Sequence[str], facts: Mapping[str, Any]
) -> LitertDescription:
    height, width = model.input_shape[1:3]
    return LitertDescription(
        str(facts.get("name", "model")),
        class_names,
        height,
        width,
        str(facts.get("licence") or ""),
        integers=name == "litert-int8",
    )


def _convert(
    path: Path,
    export_format: ExportFormat,
    model: keras.Model,
    *,
    temperature: float,
    calibration: NDArray[np.float32] | None,
) -> bytes:
    """Return the content of ``path``; OpenVINO writes it, and a second file, itself."""
    name, runtime = export_format.name, export_format.runtime
    if runtime == "openvino":
        write_openvino(path, with_probabilities(float32_model(model), temperature))
        return path.read_bytes()
    endpoint = FloatEndpoint(model, temperature=temperature, integers=name == "litert-int8")
    return _onnx(endpoint) if runtime == "onnx" else _litert(endpoint, name, calibration)


def _litert(endpoint: FloatEndpoint, name: str, calibration: NDArray[np.float32] | None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([endpoint.concrete], endpoint)
    if name == "litert-fp16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    if name == "litert-int8":
        if calibration is None:
            raise ValueError("no images for calibration")
        images = _with_full_range(calibration)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    content: bytes = converter.convert()
    return content


def _with_full_range(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make one corner black and one white, so that the input scale is 1: pixel bytes fit as is."""
    images = images.copy()
    images[0, 0, 0], images[0, -1, -1] = 0.0, 255.0
    return images


def _onnx(endpoint: FloatEndpoint) -> bytes:
    import tf2onnx

    register_erfc()
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    proto, _ = tf2onnx.convert.from_function(
        endpoint.probabilities, input_signature=[endpoint.pixels], opset=ONNX_OPSET
    )
    content: bytes = proto.SerializeToString()
    return content


def with_probabilities(model: keras.Model, temperature: float) -> keras.Model:
    """Return a float32 ``model`` with softmax output and built-in layers only."""
    portable = with_built_in_layers(model)
    logits = keras.layers.Rescaling(1.0 / temperature, name="temperature")(portable.output)
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(portable.input, probabilities, name=model.name)


def with_built_in_layers(model: keras.Model) -> keras.Model:
    """Return a float32 ``model`` of public layers of Keras.

    Its preprocessing is a 1x1 convolution, and the scales of ConvNeXt's blocks are depthwise ones.
    """
    images = keras.Input(model.input_shape[1:], name="images", dtype="float32")

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # the convolution takes the images themselves
        return layer(images) if layer.name == PREPROCESS else layer(*args, **kwargs)

    portable = keras.models.clone_model(
        model, input_tensors=images, clone_function=_built_in_layer, call_function=call
    )
    for old, new in zip(model.layers, portable.layers, strict=True):
        weights = _as_convolution(model) if old.name == PREPROCESS else old.get_weights()
        if _is_layer_scale(old):
            weights = [weights[0].reshape(1, 1, -1, 1)]
        new.set_weights(weights)
    return portable


def with_equalized_features(model: keras.Model) -> keras.Model:
    """Return ``model`` with the weight ranges of its last layer's inputs equalized.

    Each feature is multiplied by its largest weight, and its weights are divided by it (Nagel et
    al. 2019, arXiv:1906.04721, section 4.1). A feature that is almost always zero may have a weight
    a hundred times larger than the others; with one 8-bit scale for all, the small weights would be
    rounded to zero: on such a head the error of the probabilities fell from 0.047 to 0.008.
    Standardisation before the last layer is folded into it first. A model that does not end in a
    dense layer is returned unchanged.
    """
    layers, head = keras.layers, model.layers[-1]
    if not isinstance(head, layers.Dense) or head.input.ndim != 2:
        return model
    features, kernel, bias = _linear_end(model)
    largest = np.abs(kernel).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    scaling = layers.DepthwiseConv2D(1, use_bias=False)  # one weight and 8-bit scale per feature
    equalized = layers.Dense(kernel.shape[1])
    flow = scaling(layers.Reshape((1, 1, len(largest)))(features))
    logits = equalized(layers.Reshape((len(largest),))(flow))
    scaling.set_weights([largest.reshape(1, 1, -1, 1)])
    equalized.set_weights([kernel / largest[:, np.newaxis], bias])
    return keras.Model(model.input, logits, name=model.name)


def _linear_end(model: keras.Model) -> tuple[keras.KerasTensor, NDArray[Any], NDArray[Any]]:
    """Return the input of the last dense layer, its kernel [D, C] and its bias [C].

    If only dropout is between it and the standardisation, they are those of raw features.
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
    if layer.name == PREPROCESS:
        return keras.layers.Conv2D(
            layer.output.shape[-1], 1, name=PREPROCESS, dtype="float32", trainable=False
        )
    if _is_layer_scale(layer):
        return keras.layers.DepthwiseConv2D(1, use_bias=False, name=layer.name, dtype="float32")
    return type(layer).from_config(layer.get_config())


def _is_layer_scale(layer: keras.layers.Layer) -> bool:
    return type(layer).__name__ == "LayerScale"  # of keras.applications.convnext, not public


def _as_convolution(model: keras.Model) -> list[Any]:
    """Return kernel and bias of the 1x1 convolution that is equivalent to the preprocessing."""
    colours = np.concatenate([np.zeros((1, 3)), 255.0 * np.eye(3)]).astype(np.float32)
    images = np.broadcast_to(colours[:, np.newaxis, np.newaxis], (4, *model.input_shape[1:]))
    preprocessing = keras.Model(model.input, model.get_layer(PREPROCESS).output)
    outputs = np.asarray(preprocessing(images), np.float64)[:, 0, 0]
    kernel = (outputs[1:] - outputs[0]) / 255.0
    return [kernel[np.newaxis, np.newaxis].astype(np.float32), outputs[0].astype(np.float32)]
