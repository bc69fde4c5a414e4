"""Precision, recall and F1 of each class, in a sample and in its bootstrap replicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import REPLICATES, effective_sample_size
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]

RATES = ("precision", "recall", "f1")
_AT_ONCE = 500_000  # counts drawn per step, which bounds the memory


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
    def of(cls, matrix: ConfusionMatrix) -> ClassRates:
        """Return the rates of one matrix, [1, C]."""
        return cls(matrix.hits[None], matrix.support[None], matrix.predicted_as[None])

    def average(self, name: str, *, weighted: bool) -> Floats:
        """Return the mean over the classes with images, float64 [B]; undefined counts as 0."""
        values = np.nan_to_num(getattr(self, name))
        weights = self.support if weighted else (self.support > 0)
        return np.asarray((values * weights).sum(axis=1) / weights.sum(axis=1))


def resample_averages(
    matrix: ConfusionMatrix, grouped: GroupedPredictions | None
) -> dict[tuple[str, bool], Floats]:
    """Return averages over the classes in bootstrap replicates of a confusion matrix.

    Args:
        matrix: the counts.
        grouped: its images, where whole groups are to be resampled.

    Returns:
        For each of ``RATES`` the mean and the mean weighted by class size, float64 [B], at
        ``(name, weighted)``. The rates of the single classes are not kept: of 10,000 classes they
        would take half a gigabyte.
    """
    parts = _resample_images(matrix) if grouped is None else _resample_groups(grouped, matrix)
    keys = [(name, weighted) for name in RATES for weighted in (False, True)]
    drawn: dict[tuple[str, bool], list[Floats]] = {key: [] for key in keys}
    for rates in parts:
        for name, weighted in keys:
            drawn[name, weighted].append(rates.average(name, weighted=weighted))
    return {key: np.concatenate(values) for key, values in drawn.items()}


def _resample_images(matrix: ConfusionMatrix) -> Iterator[ClassRates]:
    """Yield the rates of bootstrap replicates of the matrix.

    A replicate is multinomial over the non-empty cells, so images need not be drawn one by one.
    """
    n = matrix.total
    random = np.random.default_rng(0)
    for size in _steps(max(len(matrix.counts), matrix.classes)):
        counts = random.multinomial(n, matrix.counts / n, size=size)
        yield _rates_of_cells(counts, matrix)


def _resample_groups(grouped: GroupedPredictions, matrix: ConfusionMatrix) -> Iterator[ClassRates]:
    """Yield the rates of bootstrap replicates in which whole groups are resampled."""
    from scipy.sparse import csr_array

    pairs = grouped.labels.astype(np.int64) * matrix.classes + grouped.predicted
    _, cell = np.unique(pairs, return_inverse=True)  # in the order of the matrix
    _, group = np.unique(grouped.groups, return_inverse=True)
    count = int(group.max()) + 1
    ones = np.ones(len(cell), np.int64)
    images = csr_array((ones, (cell, group)), shape=(len(matrix.counts), count))
    random = np.random.default_rng(0)
    for size in _steps(max(len(matrix.counts), matrix.classes, count)):
        times = random.multinomial(count, np.full(count, 1 / count), size=size)
        yield _rates_of_cells((images @ times.T).T, matrix)


def _steps(counts: int) -> Iterator[int]:
    """Yield numbers of replicates that are drawn at once, of so many counts each."""
    step = max(1, _AT_ONCE // counts)
    for start in range(0, REPLICATES, step):
        yield min(step, REPLICATES - start)


def _rates_of_cells(counts: Integers, matrix: ConfusionMatrix) -> ClassRates:
    """Return the rates of replicates with ``counts`` [B, K] in the cells of ``matrix``."""
    right = matrix.true == matrix.predicted
    return ClassRates(
        _sum_by_class(counts[:, right], matrix.true[right], matrix.classes),
        _sum_by_class(counts, matrix.true, matrix.classes),
        _sum_by_class(counts, matrix.predicted, matrix.classes),
    )


def _sum_by_class(counts: Integers, where: Integers, classes: int) -> Integers:
    """Sum columns of counts [B, K] by the class ``where`` [K] of each: int64 [B, C]."""
    sums = np.zeros((classes, len(counts)), np.int64)
    np.add.at(sums, where, counts.T)
    return sums.T
