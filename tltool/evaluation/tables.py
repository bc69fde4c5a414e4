"""The metrics as rows of text, for a console table or a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PER_CLASS_COLUMNS = ("class", "images", "precision", "recall", "recall 95 %", "F1")


def format_rate(rate: Mapping[str, float]) -> str:
    """Return a rate with its interval, such as ``0.935 [0.884, 0.964]``."""
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"


def per_class_rows(metrics: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one row of text per class, in the columns of ``PER_CLASS_COLUMNS``.

    Args:
        metrics: the document of ``compute_metrics``.
    """
    return [
        (
            row["name"],
            str(row["support"]),
            _number(row["precision"]),
            _number(row["recall"]),
            _interval(row["recall_interval"]),
            _number(row["f1"]),
        )
        for row in metrics["per_class"]
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(bounds: list[float] | None) -> str:
    return "–" if bounds is None else f"{bounds[0]:.3f} … {bounds[1]:.3f}"
