"""Photos unlike those of the training part, told by their pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.features.sampler import spread_over_classes
from tltool.models.standardization import floored

MOST_PHOTOS = 10_000  # that a covariance is estimated from; more would only take memory
MOST_FEATURES = 4096  # whose covariance takes a minute; as many numbers squared go into an export
_PREFIX = "detector_"


@dataclass(frozen=True)
class OutlierDetector:
    """Distance of pooled features to the nearest class, in units of the border.

    Mahalanobis distance to the means of the classes under one covariance that all share (Lee et al.
    2018, arXiv:1807.03888), of features scaled to length 1 (Mueller and Hein 2025,
    arXiv:2505.18032): the length says how much there is to see on a photo, and plain photos would
    count as known. The covariance is shrunk towards a sphere (Ledoit and Wolf 2004), since there
    are often fewer photos than features.

    Attributes:
        centre: float32 [D], the mean of all training features of length 1.
        whitening: float32 [D, D]; such features less the centre, times it, have a unit covariance
            within the classes.
        means: float32 [C, D], of the classes, whitened.
        border: the distance beyond which a photo is not known.
    """

    centre: NDArray[np.float32]
    whitening: NDArray[np.float32]
    means: NDArray[np.float32]
    border: float

    def scores(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how unlike the training photos, float32 [N]; above 1 is not known.

        Args:
            pooled: features float32 [N, D]; feature maps [N, h, w, D] are averaged.
        """
        with tf.device("/CPU:0"):
            found: NDArray[np.float32] = self.tensor_scores(tf.constant(pooled)).numpy()
        return found

    def tensor_scores(self, pooled: tf.Tensor) -> tf.Tensor:
        """Return ``scores`` as a graph does."""
        vectors = tf.reduce_mean(pooled, axis=(1, 2)) if pooled.shape.rank == 4 else pooled
        unit = tf.math.l2_normalize(vectors, axis=1)
        white = tf.matmul(unit - self.centre, self.whitening)
        squares = (
            tf.reduce_sum(white**2, axis=1, keepdims=True)
            - 2 * tf.matmul(white, self.means, transpose_b=True)
            + np.sum(self.means**2, axis=1)
        )
        nearest = tf.reduce_min(squares, axis=1)
        return tf.sqrt(tf.maximum(nearest, 0)) / np.float32(self.border)

    def with_border(self, border: float) -> OutlierDetector:
        """Return the same with another border, in units of the present one."""
        return replace(self, border=self.border * border)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all of it as arrays by name."""
        return {
            f"{_PREFIX}{name}": np.asarray(getattr(self, name))
            for name in self.__dataclass_fields__
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> OutlierDetector | None:
        """Return what ``to_arrays`` gave; None if nothing of it is there."""
        if f"{_PREFIX}centre" not in arrays:
            return None
        centre, whitening, means, border = (
            arrays[f"{_PREFIX}{name}"] for name in cls.__dataclass_fields__
        )
        return cls(centre, whitening, means, float(border))


def fit_detector(pooled: NDArray[np.float32], labels: NDArray[np.int64]) -> OutlierDetector | None:
    """Return a detector with border 1; None where the features are not finite or do not spread.

    Args:
        pooled: training features float32 [N, D]; feature maps [N, h, w, D] are averaged.
        labels: class numbers, int [N].
    """
    from sklearn.covariance import ledoit_wolf

    chosen = spread_over_classes(labels, MOST_PHOTOS)
    pooled, labels = pooled[chosen], labels[chosen]
    vectors = pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled
    vectors = vectors.astype(np.float64)  # a diverged network's squares go beyond float32
    if not np.isfinite(vectors).all():
        return None
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(lengths, 1e-6)
    centre = vectors.mean(axis=0)
    vectors = vectors - centre
    means = np.stack([vectors[labels == number].mean(axis=0) for number in np.unique(labels)])
    position = np.searchsorted(np.unique(labels), labels)
    within = vectors - means[position]
    if not np.any(within):
        return None
    covariance, _ = ledoit_wolf(within, assume_centered=True)
    variances, directions = np.linalg.eigh(covariance)
    whitening = directions / np.sqrt(floored(variances))
    return OutlierDetector(
        centre.astype(np.float32),
        whitening.astype(np.float32),
        (means @ whitening).astype(np.float32),
        border=1.0,
    )


def why_no_detector(pooled: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
    """Return why ``fit_detector`` found nothing in these features, the end of a sentence."""
    if not np.isfinite(pooled).all():
        return "the features are not finite, training has diverged"
    if np.bincount(labels).max() == 1:
        return "with one photo per class there is no telling what is usual"
    return "all photos of a class have the same features, so there is no telling what is usual"
