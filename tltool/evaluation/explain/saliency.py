"""Saliency maps, which parts of an image are evidence for a class: Grad-CAM and occlusion.

``heat_maps`` returns the maps of a batch; ``tltool.evaluation.explain.overlay`` draws them over the
images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.artifact import Artifact
from tltool.errors import GateError, UsageError
from tltool.models.batch_norm_folding import folded
from tltool.models.network_parts import Network
from tltool.training.precision import FLOAT32, Precision

Method = Literal["grad-cam", "grad-cam++", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
TITLES: Mapping[str, str] = MappingProxyType(
    {"grad-cam": "Grad-CAM", "grad-cam++": "Grad-CAM++", "occlusion": "Occlusion"}
)
BATCH_SIZE = 16

_WITHOUT_WEIGHTS = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Dropout,
)
_WINDOWS = 9  # occluding windows in a row and in a column, overlapping by half
_TINY = 1e-12


@dataclass(frozen=True)
class HeatMaps:
    """Saliency maps of ``N`` images.

    Attributes:
        maps: float32 [N, h, w] in 0…1. The largest value of each map is 1; a map of zeros says that
            nothing in the image is evidence for the class. The grid lies over the network's input,
            not over the image; ``explain.heat_map_placement`` maps it onto the image.
        classes: the class explained, int64 [N].
        logits: of the images, float32 [N, C].
    """

    maps: NDArray[np.float32]
    classes: NDArray[np.int64]
    logits: NDArray[np.float32]


def heat_maps(
    artifact: Artifact,
    images: NDArray[np.float32],
    *,
    classes: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    method: Method = "grad-cam",
    precision: Precision = FLOAT32,
) -> HeatMaps:
    """Return heat maps of decoded images; for repeated calls construct an ``Explainer``.

    Args:
        artifact: the trained model.
        images: float32 [N, H, W, 3] in 0…255, as ``decode_batch`` returns them.
        classes: the class to explain for each, int [N]; by default the predicted class.
        method: one of ``METHODS``.
        precision: arithmetic of the backbone.

    Raises:
        UsageError, GateError: as ``Explainer``.
    """
    return Explainer(artifact.network, method, precision=precision)(images, classes)


class Explainer:
    """Computes saliency maps.

    Grad-CAM costs one forward pass and a backward pass through the head; occlusion costs 81 forward
    passes per image. The maps of Grad-CAM have the size of the last feature map before pooling
    (14 x 14 for VGG16 at 224 pixels, 7 x 7 for ResNet-50), those of occlusion the size of the
    network's input.

    Args:
        network: the classifier, of any backbone and head.
        method: ``grad-cam`` (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391),
            ``grad-cam++`` (Chattopadhay et al. 2018, https://arxiv.org/abs/1710.11063), which
            localises several objects of one class better, or ``occlusion`` (Zeiler and Fergus 2014,
            https://arxiv.org/abs/1311.2901), which is model-agnostic: a window of the image's mean
            colour slides over it, and the map is the decrease of the log-odds of the class.
        precision: arithmetic of the backbone.

    Raises:
        UsageError: the method is unknown, or the feature map for Grad-CAM is a single position.
    """

    def __init__(
        self, network: Network, method: Method = "grad-cam", *, precision: Precision = FLOAT32
    ) -> None:
        if method not in METHODS:
            raise UsageError(
                f"unknown method '{method}'", hint=f"choose one of {', '.join(METHODS)}"
            )
        self._method, self._precision = method, precision
        self._model = network.model
        self._logits_of = tf.function(self._forward, autograph=False, reduce_retracing=True)
        if method != "occlusion":
            features = feature_map(network)
            self._check_positions(features)
            self._to_features = folded(keras.Model(network.images, features))
            self._to_logits = keras.Model(features, network.model.output)
            self._features_of = tf.function(
                lambda images: tf.cast(self._to_features(images, training=False), tf.float32),
                autograph=False,
                reduce_retracing=True,
            )
            self._cam = tf.function(self._gradient_maps, autograph=False, reduce_retracing=True)

    def __call__(
        self,
        images: NDArray[np.float32],
        classes: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    ) -> HeatMaps:
        """Return the maps of images float32 [N, H, W, 3] in 0…255.

        Args:
            images: as ``decode_batch`` returns them.
            classes: the class to explain for each, int [N]; by default the predicted class.

        Raises:
            GateError: the model's outputs are not finite.
        """
        requested = np.full(len(images), -1) if classes is None else np.asarray(classes)
        if not len(images):
            no_logits = np.zeros((0, self._model.output_shape[-1]), np.float32)
            return HeatMaps(np.zeros((0, 1, 1), np.float32), np.zeros(0, np.int64), no_logits)
        batches = [
            self._batch(images[start : start + BATCH_SIZE], requested[start : start + BATCH_SIZE])
            for start in range(0, len(images), BATCH_SIZE)
        ]
        maps, explained, logits = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        if not (np.isfinite(logits).all() and np.isfinite(maps).all()):
            raise GateError(
                "the model's outputs are not finite, so they cannot be explained",
                hint="training diverged: lower the learning rate and train again",
            )
        return HeatMaps(_scaled(maps), explained, logits)

    def _batch(self, images: Any, requested: Any) -> tuple[Any, Any, Any]:
        """Return unscaled maps [B, h, w], classes [B] and logits [B, C]."""
        if self._method == "occlusion":
            with self._precision.active():
                return self._occluded(np.asarray(images, np.float32), requested)
        with self._precision.active():
            features = self._features_of(tf.constant(images, tf.float32))
        maps, classes, logits = self._cam(features, tf.constant(requested, tf.int64))
        return maps.numpy(), classes.numpy(), logits.numpy()

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        return tf.cast(self._model(images, training=False), tf.float32)

    def _gradient_maps(self, features: tf.Tensor, requested: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return maps, classes and logits of features float32 [B, h, w, K]."""
        with tf.GradientTape() as tape:
            tape.watch(features)
            logits = tf.cast(self._to_logits(features, training=False), tf.float32)
            classes = tf.where(requested < 0, tf.argmax(logits, axis=1), requested)
            score = tf.gather(logits, classes, axis=1, batch_dims=1)
        gradients = tape.gradient(score, features)
        weights = self._channel_weights(features, gradients)  # [B, K]
        maps = tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
        return maps, classes, logits

    def _channel_weights(self, features: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        if self._method == "grad-cam":
            return tf.reduce_mean(gradients, axis=(1, 2))
        # equation 19 with the exponential of the logit as the score: its derivatives of every
        # order are powers of the gradient, and the exponential only scales the whole map
        total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
        divisor = 2 * gradients**2 + total * gradients**3
        share = tf.math.divide_no_nan(gradients**2, divisor)
        return tf.reduce_sum(share * tf.nn.relu(gradients), axis=(1, 2))

    def _occluded(self, images: NDArray[np.float32], requested: Any) -> tuple[Any, Any, Any]:
        logits = np.asarray(self._logits_of(tf.constant(images)))
        classes = np.where(requested < 0, logits.argmax(axis=1), requested).astype(np.int64)
        maps = [
            self._log_odds_decrease(
                image, int(label), float(_log_odds(row[np.newaxis], int(label))[0])
            )
            for image, label, row in zip(images, classes, logits, strict=True)
        ]
        return np.stack(maps), classes, logits

    def _log_odds_decrease(
        self, image: NDArray[np.float32], label: int, before: float
    ) -> NDArray[np.float32]:
        """Return the mean decrease of the log-odds of ``label`` per pixel, float32 [H, W]."""
        boxes = _windows(*image.shape[:2])
        fill = image.mean(axis=(0, 1))
        decrease, covered = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
        for start in range(0, len(boxes), BATCH_SIZE):
            batch = boxes[start : start + BATCH_SIZE]
            occluded = np.repeat(image[np.newaxis], len(batch), axis=0)
            for one, box in zip(occluded, batch, strict=True):
                one[box] = fill
            after = _log_odds(np.asarray(self._logits_of(tf.constant(occluded))), label)
            for box, odds in zip(batch, after, strict=True):
                decrease[box] += before - odds
                covered[box] += 1
        return (decrease / covered).clip(min=0).astype(np.float32)

    def _check_positions(self, features: keras.KerasTensor) -> None:
        if features.shape[1] * features.shape[2] == 1:
            height, width = self._model.input_shape[1:3]
            raise UsageError(
                f"the last feature map for images of {height}x{width} pixels is a single position, "
                "so Grad-CAM cannot localise",
                hint="use --method occlusion",
            )


def feature_map(network: Network) -> keras.KerasTensor:
    """Return the last symbolic feature map [B, h, w, K] before the final pooling of the backbone.

    Grad-CAM has a higher resolution there: after the last pooling of VGG16 it would have a quarter
    of the positions.
    """
    layer = network.model.get_layer(network.backbone.stages[-1].layer)
    while isinstance(layer, _WITHOUT_WEIGHTS):
        layer = layer.input._keras_history.operation
    return layer.output


def _windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Return the occluding windows, which together cover every pixel."""
    rows, columns = _spans(height), _spans(width)
    return [(row, column) for row in rows for column in columns]


def _spans(side: int) -> list[slice]:
    edges = np.linspace(0, side, _WINDOWS + 2).round().astype(int)
    pairs = zip(edges[:-2], edges[2:], strict=True)
    return [slice(int(low), max(int(high), int(low) + 1)) for low, high in pairs]


def _log_odds(logits: NDArray[np.float32], label: int) -> NDArray[np.float64]:
    """Return the log-odds of a class, float64 [N]; unlike probabilities they do not saturate."""
    others = np.delete(logits.astype(np.float64), label, axis=1)
    top = others.max(axis=1)
    log_sum = top + np.log(np.exp(others - top[:, np.newaxis]).sum(axis=1))
    return np.asarray(logits[:, label] - log_sum, np.float64)


def _scaled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    top = maps.max(axis=(1, 2), keepdims=True)
    return np.where(top > _TINY, maps / np.maximum(top, _TINY), 0).astype(np.float32)
