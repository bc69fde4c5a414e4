"""The confusion matrix: how many images of each class are predicted as each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of pairs of true and predicted class.

    Only pairs that occur are stored: there are no more of them than images, where a dense matrix of
    10,000 classes needs 800 MB.

    Attributes:
        true: class number of each pair, int64 [K].
        predicted: class number of each pair, int64 [K].
        counts: images of each pair, int64 [K], at least 1.
        classes: the number of classes C.
    """

    true: Integers
    predicted: Integers
    counts: Integers
    classes: int

    @classmethod
    def count(cls, labels: Integers, predicted: Integers, *, classes: int) -> ConfusionMatrix:
        """Count the pairs of N images.

        Args:
            labels: true classes, int [N].
            predicted: predicted classes, int [N].
            classes: the number of classes C.
        """
        pairs, counts = np.unique(labels.astype(np.int64) * classes + predicted, return_counts=True)
        return cls(pairs // classes, pairs % classes, counts, classes)

    @classmethod
    def from_dense(cls, matrix: Sequence[Sequence[int]] | Integers) -> ConfusionMatrix:
        """Return the same counts as a matrix [C, C], whose rows are the true classes."""
        dense = np.asarray(matrix, dtype=np.int64)
        true, predicted = np.nonzero(dense)
        return cls(true, predicted, dense[true, predicted], len(dense))

    @property
    def total(self) -> int:
        """The number of images."""
        return int(self.counts.sum())

    @cached_property
    def support(self) -> Integers:
        """Images of each class, int64 [C]."""
        return self._sum_by(self.true, np.ones(len(self.counts), np.bool_))

    @cached_property
    def predicted_as(self) -> Integers:
        """Images predicted as each class, int64 [C]."""
        return self._sum_by(self.predicted, np.ones(len(self.counts), np.bool_))

    @cached_property
    def hits(self) -> Integers:
        """Correctly predicted images of each class, int64 [C]."""
        return self._sum_by(self.true, self.true == self.predicted)

    def dense(self) -> Integers:
        """Return int64 [C, C]; rows are the true classes."""
        matrix = np.zeros((self.classes, self.classes), np.int64)
        matrix[self.true, self.predicted] = self.counts
        return matrix

    def confusions(self, most: int | None = None) -> list[tuple[int, int, int]]:
        """Return (true class, predicted class, images) of the errors, the most frequent first."""
        wrong = np.flatnonzero(self.true != self.predicted)
        order = wrong[np.argsort(-self.counts[wrong], kind="stable")][:most]
        columns = (self.true[order], self.predicted[order], self.counts[order])
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def of_classes(self, chosen: Integers) -> Integers:
        """Return the rows and columns of some classes, with all other predictions together.

        Args:
            chosen: numbers of the classes, int [S].

        Returns:
            int64 [S, S + 1]; the last column counts the images predicted as any other class.
        """
        position = np.full(self.classes, len(chosen), np.int64)
        position[chosen] = np.arange(len(chosen))
        rows = np.flatnonzero(position[self.true] < len(chosen))
        matrix = np.zeros((len(chosen), len(chosen) + 1), np.int64)
        cells = (position[self.true[rows]], position[self.predicted[rows]])
        np.add.at(matrix, cells, self.counts[rows])
        return matrix

    def _sum_by(self, where: Integers, which: NDArray[np.bool_]) -> Integers:
        sums = np.zeros(self.classes, np.int64)
        np.add.at(sums, where[which], self.counts[which])
        return sums
