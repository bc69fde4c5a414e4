"""What every part of an evaluation starts from: images, labels, and the model's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog, SplitName


@dataclass(frozen=True)
class LabelledPredictions:
    """Images with their labels and a model's answers to them.

    Attributes:
        name: what the images are, for people: the part, or where they lie.
        images: the N images; ``class_names`` in the order of the columns below.
        probabilities: float32 [N, C], as the model gives them.
        uncalibrated: the same without the temperature, float32 [N, C].
        ood_scores: how unlike the training images, float32 [N], above 1 is not known; None where
            the model has no reject option.
        part: of the run that made the model; None where the images are others.
    """

    name: str
    photos: Catalog
    probabilities: NDArray[np.floating[Any]]
    uncalibrated: NDArray[np.floating[Any]]
    ood_scores: NDArray[np.floating[Any]] | None = None
    part: SplitName | None = None
