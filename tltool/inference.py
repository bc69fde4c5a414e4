"""Runs a trained network on images and returns probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import tensorflow as tf

from tltool.data.decoding.decode import decode_contents
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.models.network_parts import Network
from tltool.training.ood import OutlierDetector
from tltool.training.precision import FLOAT32, Precision
from tltool.training.temperature import row_blocks
from tltool.training.validation import HeadLogits, Pooling

Tta = Literal["none", "flips", "crops"]

_CROP = 0.875  # side of a crop, as 224 of 256 pixels


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for N encoded images.

    Attributes:
        probabilities: float32 [N, C]; uniform where ``ok`` is false.
        ok: whether each image could be decoded, bool [N].
        ood_scores: OOD scores, float32 [N], above 1 is out-of-distribution; None if the model has
            no OOD detector.
        is_known: whether each image is in-distribution, bool [N]; None like ``ood_scores``.
        without_tta: the probabilities of the original images, float32 [N, C], if
            ``probabilities`` are averaged by test-time augmentation; else None.
    """

    probabilities: np.ndarray
    ok: np.ndarray
    ood_scores: np.ndarray | None = None
    is_known: np.ndarray | None = None
    without_tta: np.ndarray | None = None


class Classifier:
    """Runs a network in batches.

    Args:
        network: the classifier.
        temperature: divides the logits before the softmax.
        detector: the OOD detector; None for no OOD scores.
        precision: arithmetic of the backbone; the head is always float32. With float32 for both
            the predictions equal those of an export.
    """

    def __init__(
        self,
        network: Network,
        *,
        temperature: float = 1.0,
        detector: OutlierDetector | None = None,
        precision: Precision = FLOAT32,
    ) -> None:
        self._pooled = Pooling(network.images_to_pooled, precision)
        self._head = HeadLogits(network.pooled_to_logits)
        self._temperature = temperature
        self._detector = detector

    def pooled(self, images: tf.Tensor) -> np.ndarray:
        """Return the head's input, float32 [B, D] or [B, h, w, C], of images [B, H, W, 3]."""
        return self._pooled(images)

    def pooled_to_logits(self, pooled: np.ndarray) -> np.ndarray:
        """Return logits, float32 [B, C], of the output of ``pooled``."""
        return self._head(pooled)

    def logits(self, images: tf.Tensor) -> np.ndarray:
        """Return logits, float32 [B, C], of images float32 [B, H, W, 3] in 0…255."""
        return self._head(self._pooled(images))

    def probabilities(self, images: tf.Tensor) -> np.ndarray:
        """Return probabilities, float32 [B, C]."""
        return softmax(self.logits(images), self._temperature)

    def predict(self, images: tf.Tensor, ok: np.ndarray) -> Predictions:
        """Return the predictions for decoded images [B, H, W, 3]; ``ok`` bool [B] is passed on."""
        pooled = self._pooled(images)
        probabilities = softmax(self._head(pooled), self._temperature)
        probabilities[~ok] = 1.0 / probabilities.shape[1]
        if self._detector is None:
            return Predictions(probabilities, ok)
        scores = np.where(ok, self._detector.scores(pooled), np.float32(0))
        return Predictions(probabilities, ok, scores, (scores <= 1) & ok)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the softmax of logits [N, C] divided by ``temperature``, float32."""
    result = np.empty(logits.shape, np.float32)
    for part in row_blocks(logits.shape):
        scaled = logits[part].astype(np.float64) / temperature
        exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        result[part] = exponents / exponents.sum(axis=1, keepdims=True)
    return result


def without_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [N, C] with the temperature scaling undone, float32."""
    tiny = np.finfo(np.float32).tiny
    result = np.empty(probabilities.shape, np.float32)
    for part in row_blocks(probabilities.shape):
        logits = np.log(np.maximum(probabilities[part].astype(np.float64), tiny))
        result[part] = softmax(logits, 1 / temperature)
    return result


def decoder(spec: DecodeSpec) -> Callable[[Sequence[bytes]], tuple[tf.Tensor, np.ndarray]]:
    """Return a function of encoded images to images float32 [N, H, W, 3] and ok bool [N]."""
    return partial(decode_contents, spec=spec)


def tta_views(images: tf.Tensor, tta: Tta) -> list[tf.Tensor]:
    """Return the views for test-time augmentation of images float32 [B, H, W, 3], same shape.

    flips: the mirror image. crops: the four corners and the centre, 7/8 of each side, resized to
    the input size (Krizhevsky et al. 2012, section 4.1, without the mirror images).
    """
    if tta == "none":
        return []
    if tta == "flips":
        return [tf.reverse(images, [2])]
    height, width = int(images.shape[1]), int(images.shape[2])
    h, w = round(_CROP * height), round(_CROP * width)
    down, right = height - h, width - w
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    crops = [images[:, top : top + h, left : left + w] for top, left in corners]
    return [tf.image.resize(crop, (height, width)) for crop in crops]
