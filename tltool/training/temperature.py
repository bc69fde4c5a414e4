"""The temperature of a classifier's logits, fitted to labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOSS_LIMIT = -float(np.log(np.finfo(np.float32).eps))  # nats: log-losses are clipped here
BOUNDS = (0.05, 20.0)  # of the search
_PRIOR_SD = 0.5  # of the logarithm of the temperature, around 0
_GRID = 13  # temperatures tried before the search
_AT_ONCE = 4_000_000  # logits computed per step, which bounds the memory


def calibrated_log_losses(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Return log-losses, in nats, after temperature scaling fitted on the same images.

    Training makes the logits of new images larger than their accuracy supports, which raises their
    log-loss while the accuracy still rises (Guo et al. 2017, arXiv:1706.04599, section 3). A
    temperature removes that, so that epochs can be compared by how well they separate the classes.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].

    Returns:
        float64 [N], at most ``LOSS_LIMIT`` each; NaN where logits are not finite.
    """
    if not np.isfinite(logits).all():
        return np.full(len(labels), np.nan)
    true = true_log_probabilities(logits, labels, temperature=fit_temperature(logits, labels))
    losses: NDArray[np.float64] = -np.maximum(true, -LOSS_LIMIT)
    return losses


def fit_temperature(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    log_prior: NDArray[np.float64] | None = None,
) -> float:
    """Return the posterior mode of the temperature T of ``softmax(logits / T + log_prior)``.

    The likelihood is that of the labels, with each log-loss clipped at ``LOSS_LIMIT``; the prior of
    log T is normal with mean 0 and standard deviation 0.5, so that T is within 0.37 … 2.7 with
    95 %. If all predictions are correct, the likelihood alone would drive T to 0. The result is 1.0
    if no other is better.

    Args:
        logits: float [N, C] of images that the model was not trained on.
        labels: class numbers, int [N].
        log_prior: float [C]; None for zeros.
    """
    from scipy.optimize import minimize_scalar

    def negative_log_posterior(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        true = true_log_probabilities(logits, labels, temperature=temperature, shift=log_prior)
        return float(0.5 * (log_temperature / _PRIOR_SD) ** 2 - np.maximum(true, -LOSS_LIMIT).sum())

    # clipped losses can have several local minima, so the bracket comes from a grid
    low, high = np.log(BOUNDS)
    grid = np.linspace(low, high, _GRID)
    best = int(np.argmin([negative_log_posterior(each) for each in grid]))
    bracket = (grid[max(0, best - 1)], grid[min(best + 1, _GRID - 1)])
    result = minimize_scalar(negative_log_posterior, bounds=bracket, method="bounded")
    better = result.fun < negative_log_posterior(0.0) - 1e-9 * len(labels)
    return float(np.exp(result.x)) if better else 1.0


def true_log_probabilities(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    temperature: float,
    shift: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the log-probability of the true class, float64 [N].

    Args:
        logits: float [N, C].
        labels: class numbers, int [N].
        temperature: divides the logits.
        shift: float [C], added to the divided logits; None for zeros.
    """
    true = np.empty(len(labels))
    for part in row_blocks(logits.shape):
        rows = log_softmax(logits[part] / temperature + (0 if shift is None else shift))
        true[part] = rows[np.arange(len(rows)), labels[part]]
    return true


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of the rows of a matrix [N, C] that bound the memory of each step."""
    step = max(1, _AT_ONCE // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def log_softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the logarithm of the softmax, [N, C]."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
