"""A trained model and images in, probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from tltool.data.decode import DecodeSpec, decode_batch
from tltool.models.network import Network
from tltool.training.measure import HeadLogits, Pooling
from tltool.training.precision import FLOAT32, Precision


class Classifier:
    """Runs a network in batches.

    Args:
        network: the classifier.
        temperature: divides the logits before the softmax.
        precision: arithmetic of the backbone; the head is always float32. With float32 for both
            the answers are those of an export.
    """

    def __init__(
        self, network: Network, *, temperature: float = 1.0, precision: Precision = FLOAT32
    ) -> None:
        self._pooled = Pooling(network.images_to_pooled, precision)
        self._head = HeadLogits(network.pooled_to_logits)
        self._temperature = temperature

    def logits(self, images: tf.Tensor) -> np.ndarray:
        """Return logits, float32 [B, C], of images float32 [B, H, W, 3] in 0…255."""
        return self._head(self._pooled(images))

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


def without_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [N, C] as they would be without the temperature, float32."""
    tiny = np.finfo(np.float32).tiny
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), tiny)), 1 / temperature)


def _batched(contents: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for content in contents:
        batch.append(content)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
