"""Prediction sets: as many classes as it takes to hold the right one with a chosen probability.

Split conformal prediction with the adaptive score of Romano, Sesia and Candès 2020, "Classification
with valid and adaptive coverage" (arXiv:2006.02544). The promise holds on average over images like
those of the calibration part, whatever the model; here that part also chose the best epoch and the
temperature, so it is nearly kept, not strictly.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from tltool.errors import UsageError


def conformity_scores(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much probability must be gathered until the right class is in, each in [0, 1].

    The classes are taken from the most probable down; of the right class itself the share that
    ``draws`` says.

    Args:
        probabilities: [N, C].
        labels: class numbers [N].
        draws: uniform in [0, 1), [N]; without them sets would be larger than they need be.
    """
    return _gathered(probabilities, draws)[np.arange(len(labels)), labels]


def quantile(scores: NDArray[np.float64], level: float) -> float:
    """Return the score below which the right class of a new image is with probability ``level``.

    Args:
        scores: of the calibration images, [N].
        level: the coverage wanted, between 0 and 1.

    Raises:
        UsageError: so few images cannot promise so much.
    """
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    if rank > len(scores):
        most = math.floor(1000 * len(scores) / (len(scores) + 1)) / 1000
        needed = math.ceil(level / (1 - level) - 1e-9)
        raise UsageError(
            f"sets that hold the right class with probability {level:g} need {needed} validation "
            f"images; the model was made with {len(scores)}",
            hint=f"ask for at most {most:g}, or train with more validation images",
        )
    return float(np.sort(scores)[rank - 1])


def prediction_sets(
    probabilities: NDArray[np.float32], draws: NDArray[np.float64], threshold: float
) -> NDArray[np.bool_]:
    """Return which classes belong to each set, bool [N, C]; the most probable one always does.

    Args:
        probabilities: [N, C].
        draws: uniform in [0, 1), [N].
        threshold: of ``quantile``.
    """
    inside = _gathered(probabilities, draws) <= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def draw_of(digest: str) -> float:
    """Return a number in [0, 1) that is uniform over images, and always the same for one.

    Args:
        digest: SHA-256 (hex) of the image.
    """
    return int(digest[:13], 16) / 16**13


def draw_of_bytes(content: bytes) -> float:
    """Return ``draw_of`` the digest of an encoded image."""
    return draw_of(hashlib.sha256(content).hexdigest())


def _gathered(
    probabilities: NDArray[np.float32], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the probability gathered up to each class, of itself the drawn share, [N, C]."""
    wide = probabilities.astype(np.float64)
    order = np.argsort(-wide, axis=1, kind="stable")
    ranked = np.take_along_axis(wide, order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    gathered = np.empty_like(wide)
    np.put_along_axis(gathered, order, above + draws[:, np.newaxis] * ranked, axis=1)
    return gathered
