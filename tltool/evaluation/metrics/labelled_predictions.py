"""Images, their labels and a model's predictions: the input of every evaluation."""

from __future__ import annotations

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
    """

    name: str
    images: Catalog
    probabilities: NDArray[np.floating[Any]]
    uncalibrated: NDArray[np.floating[Any]]
    ood_scores: NDArray[np.floating[Any]] | None = None
    split: SplitName | None = None
