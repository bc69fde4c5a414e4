"""Measures aspect ratios and recommends how to resize images to a square."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_SQUARE = 1.005
_MAX_STRETCH = 1.1
_MAX_CROPPED = 0.35


@dataclass(frozen=True)
class Shape:
    """Aspect ratios, and the effect of each value of ``data.resize``.

    Attributes:
        aspects: width divided by height at the 5th, 50th and 95th percentile.
        stretch: of squash, the stretch of one axis relative to the other: median, 90th percentile.
        cut: of crop, the share of an image that is cropped; of pad, the share of the square that is
            black: median, 90th percentile.
        recommended: the value for ``data.resize``.
        reason: of the recommendation.
    """

    aspects: tuple[float, float, float]
    stretch: tuple[float, float]
    cut: tuple[float, float]
    recommended: Literal["squash", "crop", "pad"]
    reason: str


def measure_shape(aspects: NDArray[np.float32], *, predicts_class: bool) -> Shape:
    """Return the distribution of the aspect ratios, and a recommendation.

    Args:
        aspects: width divided by height of the upright images, float32 [N], N at least 1.
        predicts_class: whether the aspect ratio alone predicts the class, so that squash and pad
            would let the model learn it as a shortcut.
    """
    long = np.maximum(aspects, 1 / aspects)
    stretch = _percentiles(long, (50, 90))
    cut = _percentiles(1 - 1 / long, (50, 90))
    recommended, reason = _recommended(stretch[1], cut[1], predicts_class=predicts_class)
    low, middle, high = _percentiles(aspects, (5, 50, 95))
    return Shape(
        (low, middle, high), (stretch[0], stretch[1]), (cut[0], cut[1]), recommended, reason
    )


def _recommended(
    stretch: float, cut: float, *, predicts_class: bool
) -> tuple[Literal["squash", "crop", "pad"], str]:
    if predicts_class:
        return "crop", "the aspect ratio predicts the class, and squash and pad would reveal it"
    if stretch < _SQUARE:
        return "squash", "the images are square"
    if stretch <= _MAX_STRETCH:
        return "squash", f"90% of the images are stretched by {stretch - 1:.0%} at most"
    if cut <= _MAX_CROPPED:
        return "crop", f"90% of the images lose {cut:.0%} at most, without distortion"
    return "pad", f"crop would remove {cut:.0%} or more of 10% of the images"


def _percentiles(values: NDArray[np.floating], at: Sequence[int]) -> list[float]:
    return [float(value) for value in np.percentile(values, at)]
