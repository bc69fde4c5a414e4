"""The first figure of a run: the estimate of the accuracy that can be trusted most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tltool.evaluation.metrics.images_needed import images_for_half_width

HALF_WIDTH = 0.05
"""Half an interval; with wider ones, models are hard to compare."""


def headline_rate(metrics: Mapping[str, Any]) -> Mapping[str, float]:
    """Return ``{value, low, high}`` of the first figure: cross-validated, where the run has that.

    Args:
        metrics: the document of metrics.json.
    """
    rate: Mapping[str, float] = (metrics.get("cross_validation") or metrics)["accuracy"]
    return rate


def half_width(rate: Mapping[str, float]) -> float:
    """Return half the width of the interval of a rate."""
    return (rate["high"] - rate["low"]) / 2


def describe_needed_images(metrics: Mapping[str, Any]) -> str:
    """Return how many images would narrow the interval of the first figure, a clause."""
    estimate = metrics.get("cross_validation")
    if estimate:
        needed, kind, n = estimate["images_for_5_points"], " labelled images", estimate["n"]
    else:
        kind, n, rate = "", metrics["n"], metrics["accuracy"]
        # images in groups count less: as many as the interval is wide for
        effective = images_for_half_width(rate["value"], half_width(rate))
        needed = n * images_for_half_width(rate["value"], HALF_WIDTH) / effective
    return (
        f"about {_rounded(needed):,}{kind} instead of {n:,} would narrow the confidence interval "
        "to ±5 points"
    )


def _rounded(count: float) -> int:
    return int(round(count, -1)) if count >= 100 else round(count)
