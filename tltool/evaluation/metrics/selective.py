"""What a model gains by leaving images unanswered: coverage, risk, and how well it knows others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.evaluation.metrics.intervals import (
    bootstrap,
    bootstrap_interval,
    replicates_for,
    rule_of_three,
    wilson,
)

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_POINTS = 100  # of a curve: more cannot be seen


def threshold_of(scores: NDArray[np.float32], coverage: float) -> float:
    """Return the score that an image like those measured stays under with probability ``coverage``.

    The quantile is that of conformal prediction (Vovk et al. 2005), so that few images do not make
    the border too narrow. Where they are too few for it, it is a hair above their largest.

    Args:
        scores: of validation images, [V].
        coverage: share of such images that shall be answered.
    """
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    ordered = np.sort(scores.astype(np.float64))
    return float(ordered[min(rank, len(ordered)) - 1] * (1 + 1e-6))


def threshold_between(
    scores: NDArray[np.float32], others: NDArray[np.float32], coverage: float
) -> float:
    """Return ``threshold_of``, moved up as far as that refuses no fewer of the other images.

    The border is where the shares of known images kept and of others refused have the largest sum
    (Youden 1950), in the middle of the gap where there is one, but never below ``threshold_of``.

    Args:
        scores: of validation images, [V].
        others: of images of something else, [K].
        coverage: share of images like the validation ones that shall be answered.
    """
    least = threshold_of(scores, coverage)
    known, unknown = np.sort(scores.astype(np.float64)), np.sort(others.astype(np.float64))
    both = np.unique(np.concatenate([known, unknown]))
    middles = (both[1:] + both[:-1]) / 2
    candidates = np.array([least, *middles[middles > least], both[-1] * (1 + 1e-6)])
    kept = np.searchsorted(known, candidates, side="right") / len(known)
    refused = 1 - np.searchsorted(unknown, candidates, side="right") / len(unknown)
    return float(candidates[np.argmax(kept + refused)])


def selective_metrics(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    ood_scores: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Return what leaving images unanswered gives, JSON-ready.

    Args:
        probabilities: [N, C].
        labels: class numbers [N].
        ood_scores: how unlike the training images, [N], above 1 is unknown; None without.

    Returns:
        ``risk_coverage``: of each way to choose the images, ``confidence`` and ``ood_score``, the
        curve of ``coverage`` and ``risk`` (share of wrong answers among those given), and ``aurc``,
        the mean risk over all coverages (Geifman and El-Yaniv 2017, arXiv:1705.08500), with
        ``aurc_interval`` of a bootstrap over the images, None where all images are alike. With
        scores also ``known``, the share of images kept with its interval, and
        ``accuracy_of_known``.
    """
    wrong = probabilities.argmax(axis=1) != labels
    ways = {"confidence": -probabilities.max(axis=1)}
    found: dict[str, Any] = {}
    if ood_scores is not None:
        ways["ood_score"] = ood_scores
        known = ood_scores <= 1
        found["known"] = _rate(int(known.sum()), len(known))
        found["accuracy_of_known"] = _rate(int((known & ~wrong).sum()), int(known.sum()))
    found["risk_coverage"] = {name: _curve(score, wrong) for name, score in ways.items()}
    return found


def detection_metrics(known: NDArray[np.float32], others: NDArray[np.float32]) -> dict[str, Any]:
    """Return how well scores tell images of something else from known ones, JSON-ready.

    Args:
        known: scores of known images, [N].
        others: of others, [K]; above 1 is refused.

    Returns:
        ``auroc`` with its 95 % interval (DeLong et al. 1988) and ``refused``, a share of the
        others with its Wilson interval; ``n_known`` and ``n_others``.
    """
    return {
        "auroc": auroc(known, others),
        "refused": _rate(int((others > 1).sum()), len(others)),
        "n_known": len(known),
        "n_others": len(others),
    }


def auroc(known: NDArray[np.float32], others: NDArray[np.float32]) -> dict[str, float]:
    """Return the probability that another image scores above a known one, with a 95 % interval.

    DeLong et al. 1988, on the logit scale, which keeps the interval inside [0, 1]. After a perfect
    separation the interval ends three in the smaller number of images away (the rule of three;
    Hanley and Lippman-Hand 1983).
    """
    low, high = np.sort(known.astype(np.float64)), np.sort(others.astype(np.float64))
    # of each image, the share of the other side that it is ordered right with; ties count half
    above = _placed(low, others.astype(np.float64))
    below = 1 - _placed(high, known.astype(np.float64))
    value = float(above.mean())
    variance = _spread(above) + _spread(below)
    if variance == 0 or value in (0.0, 1.0):
        bounds = rule_of_three(value, min(len(known), len(others)))
        return {"value": value, "low": bounds[0], "high": bounds[1]}
    logit = np.log(value / (1 - value))
    half = 1.96 * np.sqrt(variance) / (value * (1 - value))
    return {
        "value": value,
        "low": float(1 / (1 + np.exp(-(logit - half)))),
        "high": float(1 / (1 + np.exp(-(logit + half)))),
    }


def _placed(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of ``ordered`` that lies below each value."""
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    return (left + right) / (2 * len(ordered))


def _spread(shares: NDArray[np.float64]) -> float:
    return float(shares.var(ddof=1) / len(shares)) if len(shares) > 1 else 0.0


def _curve(scores: NDArray[np.float32], wrong: NDArray[np.bool_]) -> dict[str, Any]:
    order = np.argsort(scores, kind="stable")
    answered = np.arange(1, len(wrong) + 1)
    risk = np.cumsum(wrong[order]) / answered
    # images of one score come and go together: the curve has a point at the last of them
    last = np.append(np.diff(scores[order]) > 0, [True])
    risk = risk[np.flatnonzero(last)[np.searchsorted(np.flatnonzero(last), np.arange(len(risk)))]]
    shown = np.unique(np.linspace(0, len(wrong) - 1, min(_POINTS, len(wrong))).astype(int))
    return {
        "coverage": (answered[shown] / len(wrong)).tolist(),
        "risk": risk[shown].tolist(),
        "aurc": float(risk.mean()),
        "aurc_interval": _aurc_interval(float(risk.mean()), wrong[order]),
    }


def _aurc_interval(value: float, wrong: NDArray[np.bool_]) -> list[float] | None:
    """Return the 95 % interval of the mean risk of images in the order in which they are answered.

    Args:
        value: the mean risk.
        wrong: bool [N], the surest first.
    """
    n = len(wrong)

    def statistics(draws: Integers) -> Floats:
        risk = wrong[draws].cumsum(axis=1) / np.arange(1, n + 1)
        return np.asarray(risk.mean(axis=1, keepdims=True))

    drawn = bootstrap(statistics, n, replicates=replicates_for(n))
    return bootstrap_interval(value, drawn[:, 0], n=n)


def _rate(successes: int, n: int) -> dict[str, float] | None:
    low, high = wilson(successes, n)
    return {"value": successes / n, "low": low, "high": high} if n else None
