"""Metrics as rows of text, for tables on the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PER_CLASS_COLUMNS = ("class", "images", "precision", "recall", "recall 95 % CI", "F1")


def format_rate(rate: Mapping[str, float]) -> str:
    """Return a rate with its confidence interval, such as ``0.935 [0.884, 0.964]``."""
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


def remarks(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on the baselines, on recall not above chance, and on slices that are worse.

    Args:
        metrics: the document of metrics.json.
    """
    yield _baselines(metrics["baselines"])
    compared = describe_probe_comparison(metrics)
    if compared:
        yield compared
    unclear = metrics["not_above_chance"]
    if unclear:
        yield f"Recall not significantly above chance (too few images): {_some(unclear)}"
    for row in metrics["slices"]:
        if row["worse"]:
            yield (
                f"Significantly lower accuracy for {row['by']} {row['value']}: "
                f"{format_rate(row['accuracy'])}, n = {row['n']:,}"
            )


def describe_asserts(results: Sequence[Mapping[str, Any]]) -> list[tuple[bool, str]]:
    """Return (whether it is met, text with value and interval) of each condition."""
    return [
        (
            result["passed"],
            f"{result['assert']}  ({_number(result['value'])}, 95 % "
            f"{_interval(result['interval'])}{', strict' if result['strict'] else ''})",
        )
        for result in results
    ]


def describe_probe_comparison(metrics: Mapping[str, Any]) -> str | None:
    """Return whether training gained anything over the linear probe, a sentence.

    None if it is unknown, or if the model is the probe.

    Args:
        metrics: the document of metrics.json.
    """
    compared = metrics.get("probe_comparison")
    if not compared:
        return None
    paired, loss = compared["accuracy_difference"], compared["log_loss_difference"]
    points, low, high = (100 * paired[key] for key in ("difference", "low", "high"))
    figures = (
        f"({points:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}; log-loss "
        f"{loss['value']:+.3f}, {loss['low']:+.3f} to {loss['high']:+.3f}; n = {paired['n']:,})"
    )
    if not paired["distinguishable"]:
        if loss["high"] < 0:
            return (
                f"The model is as accurate as the linear probe, and its probabilities are better "
                f"{figures}."
            )
        return (
            f"The model cannot be told apart from the linear probe {figures}: --recipe quick is "
            "as good and much faster."
        )
    better = "better" if points > 0 else "worse"
    chosen = ""
    if metrics["split"] == "validation":
        chosen = " These images also selected the best epoch, which favours fine-tuning."
    return f"The model is {better} than the linear probe {figures}.{chosen}"


def _baselines(baselines: Mapping[str, Any]) -> str:
    majority, probe = baselines["majority"], baselines["probe"]
    text = f"{majority['accuracy']['value']:.3f} by always predicting {majority['class']}"
    if probe is not None:
        text += f", {probe['accuracy']['value']:.3f} by the linear probe"
    return f"Baselines: {text}"


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(bounds: list[float] | None) -> str:
    return "–" if bounds is None else f"{bounds[0]:.3f} … {bounds[1]:.3f}"
