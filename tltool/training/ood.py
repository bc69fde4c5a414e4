"""Out-of-distribution (OOD) detection: Mahalanobis distance of pooled features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tltool.features.sampler import spread_over_classes
from tltool.models.standardization import floored
from tltool.runs.keras_setup import import_scikit_learn

MAX_IMAGES = 10_000  # for estimating the covariance; more would only take memory
MAX_FEATURES = 4096  # the covariance of so many takes a minute, and its square goes into exports
_MANY_FEATURES = 1024  # of more, a decomposition takes seconds and threads are worth their cost
_PREFIX = "detector_"


@dataclass(frozen=True)
class OutlierDetector:
    """Distance of pooled features to the nearest class, in units of the threshold.

    Mahalanobis distance to the class means with one shared covariance (Lee et al. 2018,
    arXiv:1807.03888), of L2-normalised features (Mueller and Hein 2025, arXiv:2505.18032): the norm
    measures how much content an image has, and without normalisation empty images would count as
    in-distribution. The covariance is shrunk (Ledoit and Wolf 2004), since there are often fewer
    images than features.

    Attributes:
        centre: float32 [D], the mean of all normalised training features.
        whitening: float32 [D, D]; centred normalised features times it have unit covariance within
            the classes.
        means: float32 [C, D], whitened class means.
        threshold: the distance above which an image is out-of-distribution.
    """

    centre: NDArray[np.float32]
    whitening: NDArray[np.float32]
    means: NDArray[np.float32]
    threshold: float

    def scores(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return OOD scores, float32 [N]; above 1 an image is out-of-distribution.

        Args:
            pooled: features float32 [N, D]; feature maps [N, h, w, D] are averaged.
        """
        with tf.device("/CPU:0"):
            scores: NDArray[np.float32] = self.tensor_scores(tf.constant(pooled)).numpy()
        return scores

    def tensor_scores(self, pooled: tf.Tensor) -> tf.Tensor:
        """Return ``scores`` as a tensor, for use in a graph."""
        vectors = tf.reduce_mean(pooled, axis=(1, 2)) if pooled.shape.rank == 4 else pooled
        unit = tf.math.l2_normalize(vectors, axis=1)
        white = tf.matmul(unit - self.centre, self.whitening)
        squares = (
            tf.reduce_sum(white**2, axis=1, keepdims=True)
            - 2 * tf.matmul(white, self.means, transpose_b=True)
            + np.sum(self.means**2, axis=1)
        )
        nearest = tf.reduce_min(squares, axis=1)
        return tf.sqrt(tf.maximum(nearest, 0)) / np.float32(self.threshold)

    def with_threshold(self, factor: float) -> OutlierDetector:
        """Return the same detector with its threshold multiplied by ``factor``."""
        return replace(self, threshold=self.threshold * factor)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all attributes as arrays by name."""
        return {
            f"{_PREFIX}{name}": np.asarray(getattr(self, name))
            for name in self.__dataclass_fields__
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> OutlierDetector | None:
        """Return the detector saved by ``to_arrays``; None if there is none."""
        if f"{_PREFIX}centre" not in arrays:
            return None
        centre, whitening, means, threshold = (
            arrays[f"{_PREFIX}{name}"] for name in cls.__dataclass_fields__
        )
        return cls(centre, whitening, means, float(threshold))


def fit_detector(pooled: NDArray[np.float32], labels: NDArray[np.int64]) -> OutlierDetector | None:
    """Return a detector with threshold 1; None if features are not finite or have no variance.

    Args:
        pooled: training features float32 [N, D]; feature maps [N, h, w, D] are averaged.
        labels: class numbers, int [N].
    """
    import_scikit_learn()
    from sklearn.covariance import ledoit_wolf
    from threadpoolctl import threadpool_limits

    chosen = spread_over_classes(labels, MAX_IMAGES)
    pooled, labels = pooled[chosen], labels[chosen]
    vectors = pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled
    vectors = vectors.astype(
        np.float64
    )  # squares of a diverged network's features overflow float32
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
    # threads slow down a small decomposition, and its last digits would depend on their number
    with threadpool_limits(1 if vectors.shape[1] <= _MANY_FEATURES else None):
        covariance, _ = ledoit_wolf(within, assume_centered=True)
        variances, directions = np.linalg.eigh(covariance)
    whitening = directions / np.sqrt(floored(variances))
    return OutlierDetector(
        centre.astype(np.float32),
        whitening.astype(np.float32),
        (means @ whitening).astype(np.float32),
        threshold=1.0,
    )


def why_no_detector(pooled: NDArray[np.float32], labels: NDArray[np.int64]) -> str:
    """Return why ``fit_detector`` returns None for these features, as the end of a sentence."""
    if not np.isfinite(pooled).all():
        return "the features are not finite, training has diverged"
    if np.bincount(labels).max() == 1:
        return "with one image per class no variance can be estimated"
    return "all images of a class have the same features, so no variance can be estimated"
