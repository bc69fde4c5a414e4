"""The summary of a report: how good the model is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tltool.evaluation.report.text_tables import describe_sample

_WIDE = 0.05  # half an interval; with wider ones, models are hard to compare
_MISCALIBRATED = 0.05
_CONFUSIONS, _LABEL_ISSUES = 3, 5  # fewer are not mentioned


def summary_sentence(metrics: Mapping[str, Any]) -> str:
    """Return one sentence: top-1 accuracy with interval and n, and the baselines."""
    rate, baselines = metrics["accuracy"], metrics["baselines"]
    majority, probe = baselines["majority"], baselines["probe"]
    rough = "rough " if rate.get("rough") else ""
    groups = describe_sample(metrics).partition(" images ")[2]
    sentence = (
        f"Top-1 accuracy {percent(rate['value'])} on {metrics['n']:,} {_split_name(metrics)}images "
        f"({f'{groups}; ' if groups else ''}{rough}95 % confidence interval "
        f"{percent(rate['low'])} to {percent(rate['high'])}); baselines: "
        f"{percent(majority['accuracy']['value'])} by always predicting {majority['class']}"
    )
    if probe is not None:
        sentence += f", {percent(probe['accuracy']['value'])} by the linear probe"
    return f"{sentence}."


def next_steps(metrics: Mapping[str, Any], *, label_errors: int = 0, most: int = 3) -> list[str]:
    """Return what to do next, the most useful first; at least one sentence.

    Args:
        metrics: the document of metrics.json.
        label_errors: number of labels that are probably wrong.
        most: sentences at most.
    """
    return list(_steps(metrics, label_errors))[:most]


def describe_train_overlap(metrics: Mapping[str, Any]) -> str | None:
    """Return a sentence on data leakage: images that the model was trained or validated on.

    None if there are no such images.
    """
    overlap, split = metrics.get("train_overlap"), metrics["split"]
    texts = {"train": "the training set", "validation": "the validation set"}
    if split in ("validation", "test"):
        texts = {name: f"{text} (as copies)" for name, text in texts.items() if name != split}
    parts = [
        f"{overlap[name]:,} of these images are in {text}"
        for name, text in texts.items()
        if overlap and overlap[name]
    ]
    if not parts:
        return None
    return (
        f"Data leakage: {' and '.join(parts)}. The metrics are optimistic; evaluate on images that "
        "were not used in training."
    )


def percent(share: float | None) -> str:
    """Return a share such as ``93.5 %``."""
    return "–" if share is None else f"{100 * share:.1f} %"


def confused_pairs(metrics: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, images) of all errors, the most frequent first."""
    matrix: Sequence[Sequence[int]] = metrics["confusion_matrix"]
    pairs = [
        (true, predicted, count)
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def _steps(metrics: Mapping[str, Any], label_errors: int) -> Iterator[str]:
    failed = [_describe_failure(row) for row in metrics["asserts"] if not row["passed"]]
    if failed:
        yield f"Do not use this model yet: {', '.join(failed)}."
    overlap = describe_train_overlap(metrics)
    if overlap:
        yield overlap
    unclear = metrics["not_above_chance"]
    if unclear:
        yield (
            f"Collect more images of {_some(metrics['needs_more_images'])}: with so few, recall of "
            f"{_some(unclear)} is not significantly above chance."
        )
    if label_errors >= _LABEL_ISSUES:
        yield (
            f"Check the {label_errors:,} probable label errors listed below and in "
            "label_errors.csv: correcting labels is the cheapest improvement."
        )
    yield from _about_slices(metrics)
    yield from _about_confusions(metrics)
    yield from _about_evaluation(metrics)
    yield ("Test the model on images from its future use: these images resemble its training data.")


def _about_slices(metrics: Mapping[str, Any]) -> Iterator[str]:
    worse = [row for row in metrics["slices"] if row["worse"]]
    if worse:
        row = min(worse, key=lambda row: row["accuracy"]["value"])
        yield (
            f"Add training images with {row['by']} {row['value']}: the accuracy on those "
            f"{row['n']:,} images is only {percent(row['accuracy']['value'])}."
        )


def _about_confusions(metrics: Mapping[str, Any]) -> Iterator[str]:
    pairs = confused_pairs(metrics)
    if pairs and pairs[0][2] >= _CONFUSIONS:
        true, predicted, count = pairs[0]
        names = [row["name"] for row in metrics["per_class"]]
        yield (
            f"Look at the {count:,} images of {names[true]} predicted as {names[predicted]} below: "
            "correct wrong labels, then add training images like the others."
        )


def _about_evaluation(metrics: Mapping[str, Any]) -> Iterator[str]:
    rate = metrics["accuracy"]
    if metrics["ece"] > _MISCALIBRATED and metrics["ece_raw"] > metrics["ece_by_chance"]:
        yield (
            "Do not read confidences as probabilities: the calibration error is "
            f"{percent(metrics['ece'])} more than chance explains."
        )
    half = (rate["high"] - rate["low"]) / 2
    if half > _WIDE:
        needed = round(metrics["n"] * (half / _WIDE) ** 2, -1)
        yield (
            f"Evaluate on more images: about {needed:,.0f} instead of {metrics['n']:,} narrow the "
            "confidence interval to ±5 points."
        )
    if metrics["split"] == "validation":
        yield (
            "Hold out a test set (--set data.test_fraction=0.2 or --test FOLDER): the validation "
            "images also selected the best epoch, so these metrics are optimistic."
        )


def _split_name(metrics: Mapping[str, Any]) -> str:
    name = {"train": "training"}.get(metrics["split"], metrics["split"])
    return f"{name} " if name else ""


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _describe_failure(row: Mapping[str, Any]) -> str:
    text = f"{row['assert']} is not met"
    if row.get("strict") and row["interval"]:
        low, high = row["interval"]
        return f"{text} with --strict (95 % interval {low:.3f} to {high:.3f})"
    return text
