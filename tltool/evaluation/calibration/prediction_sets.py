"""Prediction sets: as few classes as contain the true class with a chosen probability.

Split conformal prediction with the adaptive score of Romano, Sesia and Candès 2020, "Classification
with valid and adaptive coverage" (arXiv:2006.02544). The guarantee is marginal: it holds on average
over images like the calibration images, for any model. Here the calibration images are the
validation set, which also selected the best epoch and the temperature, so the guarantee is
approximate.
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
    """Return the cumulative probability up to the true class, float64 [N] in [0, 1].

    Classes are sorted by descending probability; of the true class itself a random share counts.

    Args:
        probabilities: [N, C].
        labels: class numbers [N].
        draws: uniform in [0, 1), [N], the random shares; without them the sets would be larger.
    """
    return _cumulative(probabilities, draws)[np.arange(len(labels)), labels]


def conformal_quantile(scores: NDArray[np.float64], level: float) -> float:
    """Return the score that the true class of a new image stays below with probability ``level``.

    Args:
        scores: conformity scores of the calibration images, [N].
        level: target coverage, between 0 and 1.

    Raises:
        UsageError: there are too few images for this coverage.
    """
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    if rank > len(scores):
        most = math.floor(1000 * len(scores) / (len(scores) + 1)) / 1000
        needed = math.ceil(level / (1 - level) - 1e-9)
        raise UsageError(
            f"prediction sets with coverage {level:g} need {needed} validation images; this model "
            f"has {len(scores)}",
            hint=f"use a coverage of at most {most:g}, or train with more validation images",
        )
    return float(np.sort(scores)[rank - 1])


def prediction_sets(
    probabilities: NDArray[np.float32], draws: NDArray[np.float64], threshold: float
) -> NDArray[np.bool_]:
    """Return which classes are in each set, bool [N, C]; the most probable class always is.

    Args:
        probabilities: [N, C].
        draws: uniform in [0, 1), [N].
        threshold: of ``conformal_quantile``.
    """
    inside = _cumulative(probabilities, draws) <= threshold
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def uniform_draw(digest: str) -> float:
    """Return a number in [0, 1): uniform over images, and always the same for one image.

    Args:
        digest: SHA-256 (hex) of the image.
    """
    return int(digest[:13], 16) / 16**13


def uniform_draw_of_bytes(content: bytes) -> float:
    """Return ``uniform_draw`` of the digest of an encoded image."""
    return uniform_draw(hashlib.sha256(content).hexdigest())


def _cumulative(
    probabilities: NDArray[np.float32], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the cumulative probability up to each class, of itself the drawn share, [N, C]."""
    wide = probabilities.astype(np.float64)
    order = np.argsort(-wide, axis=1, kind="stable")
    ranked = np.take_along_axis(wide, order, axis=1)
    above = np.cumsum(ranked, axis=1) - ranked
    cumulative = np.empty_like(wide)
    np.put_along_axis(cumulative, order, above + draws[:, np.newaxis] * ranked, axis=1)
    return cumulative
