"""How many label issues chance gives: probabilities of the true class, and draws from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_SHARES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
_SIGNIFICANT = 3.841  # 97.5 % quantile of the likelihood ratio where the share is truly 0
_LOG_BOUNDS = (-3.0, 3.0)  # of the temperature
_ROWS_PER_FIT = 5_000  # two numbers are fitted
_LEAST = 1e-12  # probability
_DRAWS, _FEWEST_DRAWS, _WORK = 100, 20, 200_000_000  # probabilities looked at in all draws


class IssuesByChance(NamedTuple):
    """How many label issues are expected if every label is right.

    Attributes:
        mean: of the simulated labels.
        high: their 95 % quantile.
    """

    mean: float
    high: float


def confident_classes(probabilities: Floats, labels: Integers) -> Integers:
    """Return the class that each row is confidently of, int64 [N]; -1 where there is none.

    The threshold of class j is the mean probability of j over the rows labelled j. A row is
    confidently of the most probable class among those at or above their threshold.

    Args:
        probabilities: out of fold, float [N, C].
        labels: class numbers, int [N].
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, weights=own, minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)


def issues_by_chance(probabilities: Floats, labels: Integers, *, seed: int = 0) -> IssuesByChance:
    """Return how many label issues confident learning finds where every label is right.

    Images whose classes the features cannot separate are label issues too. Labels are simulated:
    each is drawn from the probabilities of its image, calibrated by ``true_class_probabilities``,
    and the issues among the drawn labels are counted.

    Args:
        probabilities: out of fold, float [N, C].
        labels: class numbers, int [N].
        seed: of the draws.
    """
    cumulative = true_class_probabilities(probabilities, labels, seed=seed).cumsum(axis=1)
    rng, n = np.random.default_rng(seed), len(labels)
    counts = []
    for _ in range(min(_DRAWS, max(_FEWEST_DRAWS, _WORK // max(1, probabilities.size)))):
        drawn = (rng.random(n)[:, np.newaxis] > cumulative[:, :-1]).sum(axis=1)
        confident = confident_classes(probabilities, drawn)
        counts.append(np.count_nonzero((confident >= 0) & (confident != drawn)))
    return IssuesByChance(float(np.mean(counts)), float(np.quantile(counts, 0.95)))


def true_class_probabilities(
    probabilities: Floats, labels: Integers, *, seed: int = 0
) -> NDArray[np.float64]:
    """Return probabilities of the true class, calibrated on labels of which some may be wrong.

    The observed label is modelled as the true class with probability 1 - e and as any other class
    otherwise, where the true class has the probabilities ``softmax(log(p) / T)``. T and e are
    fitted by maximum likelihood; e is 0 unless it is significantly above (likelihood ratio test,
    2.5 %; the null distribution is that of Self and Liang, "Asymptotic properties of maximum
    likelihood estimators and likelihood ratio tests under nonstandard conditions", 1987). A
    temperature alone would take wrong labels for uncertainty, and hide them.

    Args:
        probabilities: out of fold, float [N, C].
        labels: class numbers, int [N].
        seed: of the rows that are used if there are many.

    Returns:
        float64 [N, C].
    """
    rows = np.random.default_rng(seed).permutation(len(labels))[:_ROWS_PER_FIT]
    logits = np.log(np.maximum(probabilities, _LEAST)).astype(np.float64)
    others = max(1, len(np.unique(labels)) - 1)

    def fit(share: float) -> tuple[float, float]:
        return _fit_temperature(logits[rows], labels[rows], share, others)

    without = fit(0.0)
    noisy = min(fit(share) for share in _SHARES)
    _, temperature = noisy if 2 * (without[0] - noisy[0]) > _SIGNIFICANT else without
    return _softmax(logits / temperature)


def _fit_temperature(
    logits: Floats, labels: Integers, share: float, others: int
) -> tuple[float, float]:
    """Return the least negative log-likelihood, in nats, and the temperature that reaches it.

    Args:
        logits: float [N, C].
        labels: class numbers, int [N].
        share: of wrong labels.
        others: number of classes that a wrong label can be of.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        right = _softmax(logits / np.exp(log_temperature))[rows, labels]
        observed = (1 - share) * right + share * (1 - right) / others
        return -float(np.log(np.maximum(observed, _LEAST)).sum())

    result = minimize_scalar(loss, bounds=_LOG_BOUNDS, method="bounded")
    return float(result.fun), float(np.exp(result.x))


def _softmax(logits: Floats) -> NDArray[np.float64]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
