"""How many images a confidence interval of a given width needs."""

from __future__ import annotations

import math
from statistics import NormalDist


def images_for_half_width(rate: float, half_width: float, confidence: float = 0.95) -> int:
    """Return the number of images whose Wilson interval has ``half_width`` at this rate.

    It solves ``h = z / (1 + z²/n) · sqrt(p (1 - p) / n + z² / (4 n²))`` for n. For a rate of 0.5
    and ±0.05 it is 381, for 0.9 it is 141, for 1.0 it is 35.

    Args:
        rate: the observed rate p, 0 … 1.
        half_width: h, half the width of the interval, above 0 and below 0.5.
        confidence: nominal coverage, inside (0, 1).

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    square, z2 = half_width**2, NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    linear = z2 * (rate * (1 - rate) - 2 * square)
    root = math.sqrt(linear**2 + 4 * square * z2**2 * (0.25 - square))
    return math.ceil((linear + root) / (2 * square))
