"""A trained model and images in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from tltool.data.decode import DecodeSpec, decode_batch
from tltool.training.precision import FLOAT32, Precision


class Classifier:
    """Runs a model in batches.

    Args:
        model: images float32 [B, H, W, 3] in 0…255 to logits [B, C].
        temperature: divides the logits before the softmax.
        precision: arithmetic; float32 gives what an export gives.
    """

    def __init__(
        self, model: keras.Model, *, temperature: float = 1.0, precision: Precision = FLOAT32
    ) -> None:
        self._precision = precision
        self._temperature = temperature
        spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)

        @tf.function(input_signature=[spec], autograph=False)
        def logits(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(model(images, training=False), tf.float32)

        self._logits = logits

    def logits(self, images: tf.Tensor) -> np.ndarray:
        """Return logits, float32 [B, C], of images float32 [B, H, W, 3] in 0…255."""
        with self._precision.active():
            return np.asarray(self._logits(images))

    def probabilities(self, images: tf.Tensor) -> np.ndarray:
        """Return probabilities, float32 [B, C]."""
        return softmax(self.logits(images), self._temperature)

    def stream(
        self, contents: Iterable[bytes], decode: DecodeSpec, *, batch_size: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (probabilities [B, C], ok bool [B]) of encoded photos, batch by batch.

        A photo that cannot be decoded has ok False and equal probabilities.
        """
        for batch in _batched(contents, batch_size):
            images, ok = decode_batch(tf.constant(batch, tf.string), decode)
            readable = np.asarray(ok)
            probabilities = self.probabilities(images)
            probabilities[~readable] = 1.0 / probabilities.shape[1]
            yield probabilities, readable


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the softmax of logits [N, C] divided by ``temperature``, float32."""
    scaled = logits.astype(np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


def _batched(contents: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for content in contents:
        batch.append(content)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
