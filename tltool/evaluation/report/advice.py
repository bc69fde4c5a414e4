"""The answer in two lines: how good it is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WIDE = 0.05  # half an interval; with more, models are hard to compare
_OVERCONFIDENT = 0.05
_MISTAKES, _SUSPECTS = 3, 5  # fewer are not worth a sentence


def answer(metrics: Mapping[str, Any]) -> str:
    """Return one sentence: accuracy with interval and n, against the baselines."""
    rate, baselines = metrics["accuracy"], metrics["baselines"]
    majority, probe = baselines["majority"], baselines["probe"]
    told = (
        f"{percent(rate['value'])} of {metrics['n']:,} {_place(metrics)}images are named right "
        f"(95 % interval {percent(rate['low'])} to {percent(rate['high'])}); always naming "
        f"{majority['class']} reaches {percent(majority['accuracy']['value'])}"
    )
    if probe is not None:
        told += f", the linear probe {percent(probe['accuracy']['value'])}"
        if metrics["part"] != probe["evaluated_on"]:
            told += f" on the {probe['evaluated_on']} images"
    return f"{told}."


def next_steps(metrics: Mapping[str, Any], *, suspects: int = 0, most: int = 3) -> list[str]:
    """Return what to do next, the most useful first; at least one sentence.

    Args:
        metrics: the document of metrics.json.
        suspects: labels that look wrong.
        most: sentences at most.
    """
    return list(_steps(metrics, suspects))[:most]


def seen_in_training(metrics: Mapping[str, Any]) -> str | None:
    """Return a sentence on images that the model has learned from; None where there are none."""
    seen, own = metrics.get("trained_on"), metrics["part"]
    told = {"train": "trained it", "validation": "chose its best epoch"}
    if own in ("validation", "test"):
        told = {part: f"{text} (by a copy)" for part, text in told.items() if part != own}
    parts = [
        f"{seen[part]:,} of these {text}" for part, text in told.items() if seen and seen[part]
    ]
    if not parts:
        return None
    return (
        f"Measure on images that the model has not seen: {' and '.join(parts)}, so the figures are "
        "better than those of new images."
    )


def percent(share: float | None) -> str:
    """Return a share such as ``93.5 %``."""
    return "–" if share is None else f"{100 * share:.1f} %"


def confused_pairs(metrics: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return (true class, named class, images) of all mistakes, the most frequent first."""
    matrix: Sequence[Sequence[int]] = metrics["confusion_matrix"]
    pairs = [
        (true, named, count)
        for true, row in enumerate(matrix)
        for named, count in enumerate(row)
        if count and true != named
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _steps(metrics: Mapping[str, Any], suspects: int) -> Iterator[str]:
    failed = [_unmet(row) for row in metrics["asserts"] if not row["passed"]]
    if failed:
        yield f"Not good enough: {', '.join(failed)}; do not use this model yet."
    seen = seen_in_training(metrics)
    if seen:
        yield seen
    unclear = metrics["not_above_chance"]
    if unclear:
        yield (
            f"Collect more images of {_some(metrics['rarest_of_these'])}: with so few, recall of "
            f"{_some(unclear)} cannot be told apart from chance."
        )
    if suspects >= _SUSPECTS:
        yield (
            f"Look through the {suspects:,} labels that look wrong, below and in "
            "label_suspects.csv: mending those that are is the cheapest gain."
        )
    yield from _about_slices(metrics)
    yield from _about_mistakes(metrics)
    yield from _about_images(metrics)
    yield "Try it on images from where it will be used: these are like the ones it was trained on."


def _about_slices(metrics: Mapping[str, Any]) -> Iterator[str]:
    worse = [row for row in metrics["slices"] if row["worse"]]
    if worse:
        row = min(worse, key=lambda row: row["accuracy"]["value"])
        yield (
            f"Add training images with {row['by']} {row['value']}: only "
            f"{percent(row['accuracy']['value'])} of those {row['n']} are right."
        )


def _about_mistakes(metrics: Mapping[str, Any]) -> Iterator[str]:
    pairs = confused_pairs(metrics)
    if pairs and pairs[0][2] >= _MISTAKES:
        true, named, count = pairs[0]
        names = [row["name"] for row in metrics["per_class"]]
        yield (
            f"Look at the {count} images of {names[true]} named {names[named]} below: mend wrong "
            "labels, then add images like those that remain."
        )


def _about_images(metrics: Mapping[str, Any]) -> Iterator[str]:
    rate = metrics["accuracy"]
    if metrics["ece"] > max(_OVERCONFIDENT, metrics["ece_by_chance"]):
        yield (
            f"Do not take confidences literally: they are {percent(metrics['ece'])} off on average."
        )
    half = (rate["high"] - rate["low"]) / 2
    if half > _WIDE:
        needed = round(metrics["n"] * (half / _WIDE) ** 2, -1)
        yield (
            f"Measure on more images: with about {needed:,.0f} instead of {metrics['n']:,} the "
            "interval shrinks to 5 points either way."
        )
    if metrics["part"] == "validation":
        yield (
            "Keep images apart for an honest figure (--set data.test_fraction=0.2 or --test "
            "FOLDER): these also chose the best epoch."
        )


def _place(metrics: Mapping[str, Any]) -> str:
    name = {"train": "training"}.get(metrics["part"], metrics["part"])
    return f"{name} " if name else ""


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _unmet(row: Mapping[str, Any]) -> str:
    told = f"{row['assert']} is not met"
    if row.get("strict") and row["interval"]:
        low, high = row["interval"]
        return f"{told} strictly: the interval goes from {low:.3f} to {high:.3f}"
    return told
