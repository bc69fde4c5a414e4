"""Reference statistics of a model: its predictions for validation images, to find drift later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 2000  # with their class, confidence and OOD score: 26 kB
MAX_FEATURES = 256  # images with features: 256 kB for 512 features
_PREFIX = "reference_"


@dataclass(frozen=True)
class Reference:
    """What a model predicted for V independent validation images, one of each group.

    Attributes:
        predicted: class numbers, int64 [V].
        confidence: probabilities of these classes, float32 [V].
        correct: whether each prediction is right, bool [V].
        ood_scores: OOD scores, float32 [V]; empty for a model without OOD detector.
        features: pooled features of K of these images, float16 [K, D]; K may be 0.
        before_refit: whether the model was trained on these images later, and these are the
            predictions of the model before.
    """

    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    correct: NDArray[np.bool_]
    ood_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    features: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))
    before_refit: bool = False

    def __len__(self) -> int:
        return len(self.predicted)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all attributes as arrays by name."""
        names = self.__dataclass_fields__
        return {f"{_PREFIX}{name}": np.asarray(getattr(self, name)) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Reference | None:
        """Return what ``to_arrays`` saved; None if there is none.

        Raises:
            ValueError: the arrays do not match.
        """
        if f"{_PREFIX}predicted" not in arrays:
            return None
        names = [name for name in cls.__dataclass_fields__ if name != "before_refit"]
        reference = cls(
            **{name: arrays[f"{_PREFIX}{name}"] for name in names},
            before_refit=bool(arrays.get(f"{_PREFIX}before_refit", False)),
        )
        lengths = {len(reference.predicted), len(reference.confidence), len(reference.correct)}
        scores = len(reference.ood_scores)
        if len(lengths) > 1 or scores not in (0, *lengths) or reference.features.ndim != 2:
            raise ValueError("the arrays of its reference statistics do not match")
        return reference


def make_reference(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None = None,
    ood_scores: NDArray[np.float32] | None = None,
    pooled: NDArray[np.float32] | None = None,
) -> Reference:
    """Return the reference statistics of images on which the model was not trained.

    Images of one group are not independent, so only the first of each is taken.

    Args:
        probabilities: calibrated, float32 [N, C].
        labels: class numbers, int64 [N].
        groups: number of the group of each image, int64 [N]; None if all are independent.
        ood_scores: float32 [N]; None without an OOD detector.
        pooled: features float32 [N, D]; feature maps [N, h, w, D] are averaged. None for none.
    """
    count = len(labels)
    first = np.arange(count) if groups is None else np.sort(np.unique(groups, return_index=True)[1])
    rows = first[spread(len(first), MAX_IMAGES)]
    predicted = probabilities[rows].argmax(axis=1)
    features = np.zeros((0, 0), np.float16)
    if pooled is not None:
        features = as_features(pooled[rows[spread(len(rows), MAX_FEATURES)]])
    return Reference(
        predicted.astype(np.int64),
        probabilities[rows].max(axis=1).astype(np.float32),
        predicted == labels[rows],
        np.zeros(0, np.float32) if ood_scores is None else ood_scores[rows].astype(np.float32),
        features,
    )


def as_features(pooled: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return pooled features [N, D] or feature maps [N, h, w, D] as float16 [N, D] of length 1.

    The length of a feature vector measures contrast more than content; without it no value
    overflows float16.
    """
    vectors = (pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    features: NDArray[np.float16] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float16)
    return features


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` of the positions 0 … count - 1, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
