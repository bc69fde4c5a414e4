"""Precision, recall and F1 of each class, in a sample and in its bootstrap replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import REPLICATES, effective_sample_size

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

_AT_ONCE = 2_000_000  # counts drawn per step, which bounds the memory


@dataclass(frozen=True)
class GroupedPredictions:
    """True and predicted classes of images that are not independent.

    Attributes:
        labels: int [N].
        predicted: int [N].
        groups: number of the group of each image, int [N]; groups are independent.
    """

    labels: Integers
    predicted: Integers
    groups: Integers

    def sizes(self, number: int) -> dict[str, float]:
        """Return the effective number of images behind the rates of class ``number``."""
        true, predicted = self.labels == number, self.predicted == number
        masks = {"recall": true, "precision": predicted, "f1": true | predicted}
        return {
            name: effective_sample_size((true & predicted)[mask], self.groups[mask])
            if mask.any()
            else 0.0
            for name, mask in masks.items()
        }

    def size(self) -> float:
        """Return the effective number of images behind the accuracy."""
        return effective_sample_size(self.labels == self.predicted, self.groups)


class ClassRates:
    """Precision, recall and F1 of each class in B confusion matrices; NaN where undefined.

    Attributes:
        hits: correctly predicted images of each class, int [B, C].
        support: images of each class, int [B, C].
        predicted: images predicted as each class, int [B, C].
        precision: float64 [B, C]; so are recall and f1.
    """

    def __init__(self, hits: Integers, support: Integers, predicted: Integers) -> None:
        self.hits, self.support, self.predicted = hits, support, predicted
        with np.errstate(divide="ignore", invalid="ignore"):
            self.precision = hits / predicted
            self.recall = hits / support
            self.f1 = 2 * hits / (support + predicted)

    @classmethod
    def of(cls, matrices: Integers) -> ClassRates:
        """Return the rates of matrices [B, C, C]."""
        hits = matrices.diagonal(axis1=1, axis2=2)
        return cls(hits, matrices.sum(axis=2), matrices.sum(axis=1))

    @classmethod
    def concatenate(cls, parts: Sequence[ClassRates]) -> ClassRates:
        """Return the rates of all parts."""
        return cls(
            np.concatenate([part.hits for part in parts]),
            np.concatenate([part.support for part in parts]),
            np.concatenate([part.predicted for part in parts]),
        )

    def average(self, name: str, *, weighted: bool) -> Floats:
        """Return the mean over the classes with images, float64 [B]; undefined counts as 0."""
        values = np.nan_to_num(getattr(self, name))
        weights = self.support if weighted else (self.support > 0)
        return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))


def resample_rates(matrix: Integers, grouped: GroupedPredictions | None) -> ClassRates:
    """Return the rates of bootstrap replicates of a confusion matrix.

    Args:
        matrix: int [C, C].
        grouped: its images, where whole groups are to be resampled.
    """
    if grouped is None:
        return _resample_images(matrix)
    return _resample_groups(grouped, len(matrix))


def _resample_images(matrix: Integers) -> ClassRates:
    """Return the rates of bootstrap replicates of the matrix.

    A replicate is multinomial over the non-empty cells, so images need not be drawn one by one.
    """
    true, predicted = np.nonzero(matrix)
    cells = matrix[true, predicted]
    n, classes = int(cells.sum()), len(matrix)
    random = np.random.default_rng(0)
    step = max(1, _AT_ONCE // max(len(cells), classes))
    parts = []
    for start in range(0, REPLICATES, step):
        counts = random.multinomial(n, cells / n, size=min(step, REPLICATES - start))
        parts.append(_rates_of_cells(counts, true, predicted, classes))
    return ClassRates.concatenate(parts)


def _resample_groups(grouped: GroupedPredictions, classes: int) -> ClassRates:
    """Return the rates of bootstrap replicates in which whole groups are resampled."""
    pairs, cell = np.unique(grouped.labels * classes + grouped.predicted, return_inverse=True)
    _, group = np.unique(grouped.groups, return_inverse=True)
    count = int(group.max()) + 1
    cells = np.zeros((count, len(pairs)), np.int64)
    np.add.at(cells, (group, cell), 1)
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=REPLICATES)
    return _rates_of_cells(times @ cells, pairs // classes, pairs % classes, classes)


def _rates_of_cells(
    counts: Integers, true: Integers, predicted: Integers, classes: int
) -> ClassRates:
    """Return the rates of matrices with ``counts`` [B, K] in the cells ``true``, ``predicted``."""
    right = true == predicted
    return ClassRates(
        _sum_by_class(counts[:, right], true[right], classes),
        _sum_by_class(counts, true, classes),
        _sum_by_class(counts, predicted, classes),
    )


def _sum_by_class(counts: Integers, where: Integers, classes: int) -> Integers:
    """Sum columns of counts [B, K] by the class ``where`` [K] of each: int64 [B, C]."""
    sums = np.zeros((classes, len(counts)), np.int64)
    np.add.at(sums, where, counts.T)
    return sums.T
