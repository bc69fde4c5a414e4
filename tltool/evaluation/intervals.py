"""Confidence intervals of rates."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of the rate ``successes / n``.

    Unlike the textbook ``p ± 1.96 s``, it stays inside [0, 1] and is not empty at 0 or ``n``
    successes, which is where a small validation split often ends.

    Args:
        successes: how often it happened, 0 … ``n``.
        n: how often it was tried; with 0 nothing is known and the answer is (0, 1).
        confidence: the coverage wanted, inside (0, 1).

    Returns:
        The lower and the upper bound, both inside [0, 1].

    Raises:
        ValueError: the counts or the confidence are impossible.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= n or not 0 < confidence < 1:
        raise ValueError(f"no such rate: {successes} of {n} at confidence {confidence}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # Rounding alone puts the bound of 0 and of n successes a hair off its exact value.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high
