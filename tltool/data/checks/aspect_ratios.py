"""Aspect ratios, and what each way of making an image square does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_SQUARE = 1.005
_HARMLESS_STRETCH = 1.1
_BEARABLE_CUT = 0.35


@dataclass(frozen=True)
class Shape:
    """What becomes of the images in a square.

    Attributes:
        aspects: width over height at the 5th, 50th and 95th percentile.
        stretch: of squash, how much longer one axis gets than the other: median, 90th percentile.
        cut: of crop, the share of an image that is cut away; of pad, the share of the square that
            stays black: median, 90th percentile.
        recommended: the value for ``data.resize``.
        reason: for it, in a sentence.
    """

    aspects: tuple[float, float, float]
    stretch: tuple[float, float]
    cut: tuple[float, float]
    recommended: Literal["squash", "crop", "pad"]
    reason: str


def measure_shape(aspects: NDArray[np.float32], *, tells_class: bool) -> Shape:
    """Measure the aspect ratios, float32 [N] of width over height, N at least 1.

    Args:
        aspects: of the upright images.
        tells_class: whether the aspect ratio alone predicts the class, so that squash and pad
            would show the model the answer.
    """
    long = np.maximum(aspects, 1 / aspects)
    stretch = _percentiles(long, (50, 90))
    cut = _percentiles(1 - 1 / long, (50, 90))
    recommended, reason = _recommended(stretch[1], cut[1], tells_class=tells_class)
    low, middle, high = _percentiles(aspects, (5, 50, 95))
    return Shape(
        (low, middle, high), (stretch[0], stretch[1]), (cut[0], cut[1]), recommended, reason
    )


def _recommended(
    stretch: float, cut: float, *, tells_class: bool
) -> tuple[Literal["squash", "crop", "pad"], str]:
    if tells_class:
        return "crop", "squash and pad would show the model an aspect ratio that tells the class"
    if stretch < _SQUARE:
        return "squash", "the images are square already"
    if stretch <= _HARMLESS_STRETCH:
        return "squash", f"nine in ten images are stretched by {stretch - 1:.0%} at most"
    if cut <= _BEARABLE_CUT:
        return "crop", f"nine in ten images lose {cut:.0%} at most, and nothing is distorted"
    return "pad", f"crop would cut away {cut:.0%} or more of one image in ten"


def _percentiles(values: NDArray[np.floating], at: Sequence[int]) -> list[float]:
    return [float(value) for value in np.percentile(values, at)]
