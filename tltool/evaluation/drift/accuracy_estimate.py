"""An estimate of the accuracy on images without labels, from the confidence of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.confidence_intervals import wilson_interval
from tltool.training.reference import Reference

ASSUMPTION = (
    "assumes that a confidence means the same here as on the validation images, which is wrong for "
    "images of new classes"
)
_REPLICATES = 1000


@dataclass(frozen=True)
class AccuracyEstimate:
    """An estimate without labels.

    Attributes:
        value: of the accuracy.
        low: lower bound of its 95 % interval, for sampling errors only.
        high: upper bound.
        average_confidence: mean calibrated confidence, another estimate of the accuracy.
        validation_accuracy: measured on the validation images.
    """

    value: float
    low: float
    high: float
    average_confidence: float
    validation_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"assumption": ASSUMPTION, **fields}


def estimate_accuracy(
    reference: Reference, confidence: NDArray[np.floating], *, seed: int = 0
) -> AccuracyEstimate:
    """Return an estimate of the accuracy on images with these confidences, float [M], M > 0.

    Average thresholded confidence (Garg et al., "Leveraging unlabeled data to predict
    out-of-distribution performance", 2022): the share of images whose confidence is above the
    threshold that as many validation images exceed as are classified correctly. The assumption
    is that this relation holds for the new images too, which nothing without labels can show.

    The interval is a bootstrap over the validation images, with binomial noise for the new ones,
    and at least as wide as Wilson's for the new images.

    Args:
        reference: of the validation images.
        confidence: of the predicted classes.
        seed: of the bootstrap.
    """
    ordered, count = np.sort(confidence.astype(np.float64)), len(reference)
    value = float(_above(_threshold(reference.confidence, reference.correct), ordered))
    random = np.random.default_rng(seed)
    shares = np.empty(_REPLICATES)
    for number in range(_REPLICATES):
        rows = random.integers(0, count, count)
        shares[number] = _above(
            _threshold(reference.confidence[rows], reference.correct[rows]), ordered
        )
    replicates = random.binomial(len(ordered), shares) / len(ordered)
    low, high = np.quantile(replicates, [0.025, 0.975]).tolist()
    # the bootstrap alone would be certain where all images are above the threshold, or none
    own = wilson_interval(value * len(ordered), len(ordered))
    low, high = min(low, own[0]), max(high, own[1])
    if reference.correct.all() or not reference.correct.any():
        # the bootstrap cannot resample what has not occurred
        bounds = wilson_interval(int(reference.correct.sum()), count)
        low, high = min(low, value * bounds[0]), max(high, bounds[1])
    return AccuracyEstimate(
        value,
        low,
        high,
        float(ordered.mean()),
        float(reference.correct.mean()),
    )


def _threshold(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Return the confidence that as many images reach as are classified correctly."""
    wrong = int(len(correct) - correct.sum())
    if wrong == len(correct):
        return float("inf")
    if not wrong:
        return float("-inf")
    return float(np.partition(confidence, wrong)[wrong])


def _above(threshold: float, ordered: NDArray[np.float64]) -> float:
    """Return the share of ascending confidences that reach ``threshold``."""
    return 1.0 - float(np.searchsorted(ordered, threshold, side="left")) / len(ordered)
