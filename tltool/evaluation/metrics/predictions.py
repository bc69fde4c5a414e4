"""What every part of an evaluation starts from: photos, labels, and the model's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, SplitName


@dataclass(frozen=True)
class LabelledPredictions:
    """Photos with their labels and a model's answers to them.

    Attributes:
        name: what the photos are, for people: the part, or where they lie.
        photos: the N photos; ``class_names`` in the order of the columns below.
        probabilities: float32 [N, C], as the model gives them.
        uncalibrated: the same without the temperature, float32 [N, C].
        ood_scores: how unlike the training photos, float32 [N], above 1 is not known; None where
            the model has no reject option.
        part: of the run that made the model; None where the photos are others.
    """

    name: str
    photos: Catalog
    probabilities: NDArray[np.floating[Any]]
    uncalibrated: NDArray[np.floating[Any]]
    ood_scores: NDArray[np.floating[Any]] | None = None
    part: SplitName | None = None
