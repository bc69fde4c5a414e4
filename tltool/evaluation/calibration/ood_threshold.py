"""Sets the out-of-distribution (OOD) threshold from the scores of the OOD detector."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.calibration.conformal_quantile import Quantile, conformal_quantile
from tltool.evaluation.metrics.confidence_intervals import effective_sample_size

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

_ABOVE = 1 + 1e-6  # the threshold is just above a score, so that rounding does not reject it
_INTERVAL = 0.95


@dataclass(frozen=True)
class OodThreshold:
    """An OOD threshold, and what is known of the share of new images that it accepts.

    Attributes:
        value: an image with a higher score is out-of-distribution.
        n: scores of in-distribution images from which it was set.
        n_effective: independent images that say as much; ``n`` without groups.
        accepted: 95 % interval of the share of new in-distribution images that it accepts.
        confidence: probability that this share is at least the target coverage.
    """

    value: float
    n: int
    n_effective: float
    accepted: tuple[float, float]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, for ``selective`` of metrics.json."""
        return {
            "ood_threshold_images": self.n,
            "ood_threshold_effective_images": self.n_effective,
            "coverage_range": list(self.accepted),
            "coverage_confidence_reached": self.confidence,
        }


def threshold_for_coverage(
    scores: Floats,
    coverage: float,
    *,
    groups: Integers | None = None,
    confidence: float | None = None,
) -> OodThreshold:
    """Return the OOD threshold at or below which a new in-distribution image scores.

    An image like these is at or below it with probability ``coverage``, whatever their number, as
    the quantile is that of split conformal prediction (Vovk et al. 2005). With ``confidence`` it is
    a tolerance limit instead (Wilks 1941): with this probability the threshold accepts at least
    ``coverage`` of all such images. With too few images it is just above the largest score.

    The share accepted by a threshold at the r-th of n scores follows Beta(r, n + 1 - r), of which
    ``accepted`` is the central interval; with groups n is the effective number of images.

    Args:
        scores: OOD scores of in-distribution images that the detector was not fitted on, [V].
        coverage: target share of in-distribution images that are not rejected.
        groups: int [V], the group of each image; None if all images are independent.
        confidence: of the tolerance limit; None for the expected coverage.
    """
    wide = scores.astype(np.float64)
    quantile = _quantile(wide, coverage, groups)
    effective = _effective(wide, quantile.value, groups)
    if confidence is not None:
        level = _tolerance_level(effective, coverage, confidence)
        quantile = _quantile(wide, level, groups)
        effective = _effective(wide, quantile.value, groups)
    return OodThreshold(
        value=quantile.value * _ABOVE,
        n=len(scores),
        n_effective=effective,
        accepted=_accepted(wide, quantile, effective),
        confidence=_confidence(quantile.level, effective, coverage),
    )


def threshold_between_scores(
    scores: Floats,
    ood_scores: Floats,
    coverage: float,
    *,
    groups: Integers | None = None,
    confidence: float | None = None,
) -> OodThreshold:
    """Return the OOD threshold that separates in-distribution images from OOD images best.

    It maximises the sum of the in-distribution images accepted and the OOD images detected
    (Youden's index, 1950), lies in the middle of the gap where there is one, and is never below
    ``threshold_for_coverage``. ``accepted`` begins at that threshold's lower bound.

    Args:
        scores: OOD scores of in-distribution images, [V].
        ood_scores: OOD scores of OOD images, [K].
        coverage: target share of in-distribution images that are not rejected.
        groups: int [V], the group of each image; None if all images are independent.
        confidence: of the tolerance limit; None for the expected coverage.
    """
    least = threshold_for_coverage(scores, coverage, groups=groups, confidence=confidence)
    validation, ood = (np.sort(each.astype(np.float64)) for each in (scores, ood_scores))
    both = np.unique(np.concatenate([validation, ood]))
    middles = (both[1:] + both[:-1]) / 2
    candidates = np.array([least.value, *middles[middles > least.value], both[-1] * _ABOVE])
    accepted = np.searchsorted(validation, candidates, side="right") / len(validation)
    detected = 1 - np.searchsorted(ood, candidates, side="right") / len(ood)
    best = int(np.argmax(accepted + detected))
    chosen = Quantile(float(candidates[best]), coverage)
    _, high = _accepted(validation, chosen, least.n_effective)
    accepted_range = (least.accepted[0], max(high, least.accepted[1]))
    return replace(least, value=chosen.value, accepted=accepted_range)


def describe_threshold(threshold: OodThreshold) -> str:
    """Return how much a threshold accepts, as a sentence without its full stop."""
    low, high = (100 * share for share in threshold.accepted)
    grouped = threshold.n_effective < threshold.n - 0.5
    independent = f", as many as {threshold.n_effective:,.0f} independent ones" if grouped else ""
    return (
        f"OOD threshold from {threshold.n:,} images{independent}: between {low:.1f} and "
        f"{high:.1f} % of new images like these are accepted (95 % interval)"
    )


def images_for_confidence(coverage: float, confidence: float) -> int:
    """Return how many independent images a tolerance limit needs: the largest of n is one."""
    return int(np.ceil(np.log(1 - confidence) / np.log(coverage) - 1e-9))


def _quantile(scores: Floats, level: float, groups: Integers | None) -> Quantile:
    """Return the conformal quantile; with too few images the largest score, with its level."""
    quantile = conformal_quantile(scores, level, groups)
    if quantile is not None:
        return quantile
    count = len(scores) if groups is None else len(np.unique(groups))
    return Quantile(float(scores.max()), count / (count + 1))


def _effective(scores: Floats, threshold: float, groups: Integers | None) -> float:
    if groups is None:
        return float(len(scores))
    return effective_sample_size((scores <= threshold).astype(np.float64), groups)


def _accepted(scores: Floats, quantile: Quantile, effective: float) -> tuple[float, float]:
    """Return the central 95 % interval of the share of new images at or below the quantile.

    With groups the upper bound counts images, not groups: of few groups the largest score is
    higher than that of as few images.
    """
    from scipy.special import betaincinv

    n, tail = len(scores), (1 - _INTERVAL) / 2
    below = float(np.sum(scores <= quantile.value))
    of_groups = (quantile.level * (effective + 1), (1 - quantile.level) * (effective + 1))
    high = max(betaincinv(*pair, 1 - tail) for pair in (of_groups, (below, n + 1 - below)))
    return float(betaincinv(*of_groups, tail)), float(high)


def _confidence(level: float, n: float, coverage: float) -> float:
    """Return the probability that the quantile accepts at least ``coverage`` of new images."""
    from scipy.special import betaincc

    return float(betaincc(level * (n + 1), (1 - level) * (n + 1), coverage))


def _tolerance_level(n: float, coverage: float, confidence: float) -> float:
    """Return the lowest level of r of n images that is a tolerance limit; else the highest."""
    levels = np.arange(1, int(n) + 1) / (n + 1)
    enough = [level for level in levels if _confidence(level, n, coverage) >= confidence]
    return float(enough[0] if enough else levels[-1])
