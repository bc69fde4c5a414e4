"""Temperature scaling: one number that makes confidences honest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the log-loss of ``softmax(logits / T)``.

    Guo et al. 2017 (arXiv:1706.04599). 1.0 is returned when nothing else is better.

    Args:
        logits: float [N, C] of photos that the model was not trained on.
        labels: class numbers, int [N].
    """
    from scipy.optimize import minimize_scalar

    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = wide / np.exp(log_temperature)
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        return float((log_sum - shifted[np.arange(len(labels)), labels]).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) - 1e-9 else 1.0
