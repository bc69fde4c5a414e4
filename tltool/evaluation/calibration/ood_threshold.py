"""Sets the out-of-distribution (OOD) threshold from the scores of the OOD detector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def threshold_for_coverage(validation_scores: Floats, coverage: float) -> float:
    """Return the OOD threshold at or below which a new in-distribution image scores.

    An image like the validation images is at or below it with probability ``coverage``, whatever
    their number, as the quantile is that of split conformal prediction (Vovk et al. 2005). With too
    few images for that quantile, the threshold is just above the largest score.

    Args:
        validation_scores: OOD scores of the validation images, [V].
        coverage: target share of in-distribution images that are not rejected.
    """
    rank = int(np.ceil((len(validation_scores) + 1) * coverage - 1e-9))
    ordered = np.sort(validation_scores.astype(np.float64))
    return float(ordered[min(rank, len(ordered)) - 1] * (1 + 1e-6))


def threshold_between_scores(
    validation_scores: Floats, ood_scores: Floats, coverage: float
) -> float:
    """Return the OOD threshold that separates validation images from OOD images best.

    It maximises the sum of the in-distribution images accepted and the OOD images detected
    (Youden's index, 1950), lies in the middle of the gap where there is one, and is never below
    ``threshold_for_coverage``.

    Args:
        validation_scores: OOD scores of the validation images, [V].
        ood_scores: OOD scores of OOD images, [K].
        coverage: target share of in-distribution images that are not rejected.
    """
    least = threshold_for_coverage(validation_scores, coverage)
    validation, ood = (np.sort(each.astype(np.float64)) for each in (validation_scores, ood_scores))
    both = np.unique(np.concatenate([validation, ood]))
    middles = (both[1:] + both[:-1]) / 2
    candidates = np.array([least, *middles[middles > least], both[-1] * (1 + 1e-6)])
    accepted = np.searchsorted(validation, candidates, side="right") / len(validation)
    detected = 1 - np.searchsorted(ood, candidates, side="right") / len(ood)
    return float(candidates[np.argmax(accepted + detected)])
