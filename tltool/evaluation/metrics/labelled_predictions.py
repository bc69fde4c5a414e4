"""Images, their labels and a model's predictions: the input of every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, SplitName


@dataclass(frozen=True)
class LabelledPredictions:
    """Labelled images and a model's predictions.

    Attributes:
        name: description of the images for people: the split, or the path of the source.
        images: the N images; ``class_names`` in the order of the columns below.
        probabilities: float32 [N, C], as the model returns them.
        uncalibrated: the same without temperature scaling, float32 [N, C].
        ood_scores: out-of-distribution scores, float32 [N], above 1 is OOD; None where the model
            has no OOD detector.
        split: of the run that trained the model; None where the images are others.
        groups: name of the group of each image, as in split.csv: images of one patient, film or
            burst, or near duplicates; empty for a single image. None where none are known.
    """

    name: str
    images: Catalog
    probabilities: NDArray[np.floating[Any]]
    uncalibrated: NDArray[np.floating[Any]]
    ood_scores: NDArray[np.floating[Any]] | None = None
    split: SplitName | None = None
    groups: Sequence[str] | None = None

    def group_numbers(self) -> NDArray[np.int64] | None:
        """Return the number of the group of each image, int64 [N], or None without groups."""
        if self.groups is None or not any(self.groups):
            return None
        return numbers_of_groups(self.groups)


def numbers_of_groups(names: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each name, int64 [N]; each image without a name is its own group."""
    unique = [name or f"\0{position}" for position, name in enumerate(names)]
    return np.unique(unique, return_inverse=True)[1].astype(np.int64)
