"""Metrics as rows of text, for tables on the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tltool.errors import some_of
from tltool.evaluation.metrics.sample_sizes import FEWEST_FOR_RATE

_NEARLY_ALL = 0.95  # of the images; with more effective ones, groups do not matter
_SMALL_DIFFERENCE = 5.0  # points; a larger one matters to most users
PER_CLASS_COLUMNS = ("class", "images", "precision", "recall", "recall 95 % CI", "F1")


def format_rate(rate: Mapping[str, float]) -> str:
    """Return a rate with its confidence interval, such as ``0.935 [0.884, 0.964]``."""
    rough = " rough" if rate.get("rough") else ""
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]{rough}"


def format_with_interval(metrics: Mapping[str, Any], key: str) -> str:
    """Return a metric with its confidence interval as ``format_rate`` does; a dash if undefined."""
    value, interval = metrics[key], metrics[f"{key}_interval"]
    if value is None or interval is None:
        return format_number(value)
    rate = {"value": value, "low": interval[0], "high": interval[1]}
    return format_rate({**rate, "rough": metrics.get(f"{key}_rough", False)})


def describe_sample(metrics: Mapping[str, Any]) -> str:
    """Return the number of images, and of their groups where these matter.

    Such as ``153``, or ``120 images of 14 groups, effective n 31``.
    """
    n, groups = f"{metrics['n']:,}", metrics.get("groups")
    if not groups or groups["effective_n"] > _NEARLY_ALL * metrics["n"]:
        return n
    return f"{n} images of {groups['n']:,} groups, effective n {groups['effective_n']:,.0f}"


def percent(share: float | None) -> str:
    """Return a share such as ``93.5 %``."""
    return "–" if share is None else f"{100 * share:.1f} %"


def describe_accuracy(metrics: Mapping[str, Any]) -> str:
    """Return the accuracy of an evaluation with its 95 % interval and its images, one line.

    Such as ``accuracy 95.5 % (92.9 to 97.3) on 359 validation images``. A rough interval is called
    so.

    Args:
        metrics: the document of metrics.json.
    """
    rate, part = metrics["accuracy"], metrics["evaluated_on"]
    rough = "rough interval " if rate.get("rough") else ""
    count, _, groups = describe_sample(metrics).partition(" images")
    noun = "image" if metrics["n"] == 1 else "images"
    known = part in ("validation", "test", "train")
    images = f"{part} {noun}{groups}" if known else f"{noun}{groups} of {part}"
    return (
        f"accuracy {percent(rate['value'])} ({rough}{100 * rate['low']:.1f} to "
        f"{100 * rate['high']:.1f}) on {count} {images}"
    )


def describe_stop(metrics: Mapping[str, Any]) -> str:
    """Return a sentence on where a time limit ended the training of a run; empty if none did.

    Args:
        metrics: the document of metrics.json; ``stopped_by_time_limit`` may be missing in it.
    """
    stop = metrics.get("stopped_by_time_limit")
    if not stop:
        return ""
    after = f"after epoch {stop['epochs']} of" if stop["epochs"] else "before"
    return f"The time limit ended training {after} the {stop['phase']} phase."


def worst_classes(metrics: Mapping[str, Any], most: int) -> list[Mapping[str, Any]]:
    """Return the rows of the classes: all, or those of lowest F1 score if there are more.

    Classes without images are last. The rows are in the order of the classes.

    Args:
        metrics: the document of ``compute_metrics``.
        most: number of rows.
    """
    rows = metrics["per_class"]
    if len(rows) <= most:
        return list(rows)

    def by_score(number: int) -> tuple[bool, float]:
        row = rows[number]
        return not row["support"], row["f1"] or 0.0

    return [rows[number] for number in sorted(sorted(range(len(rows)), key=by_score)[:most])]


def per_class_rows(metrics: Mapping[str, Any], most: int) -> list[tuple[str, ...]]:
    """Return a row of text for each of the ``worst_classes``, in ``PER_CLASS_COLUMNS``.

    Args:
        metrics: the document of ``compute_metrics``.
        most: number of rows.
    """
    return [
        (
            row["name"],
            str(row["support"]),
            format_number(row["precision"]),
            format_number(row["recall"]),
            _interval(row["recall_interval"], rough=row.get("recall_rough", False)),
            format_number(row["f1"]),
        )
        for row in worst_classes(metrics, most)
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
    if any(row.get("recall_rough") for row in metrics["per_class"]):
        yield (
            f"Rough: with fewer than {FEWEST_FOR_RATE} images, an interval may hold the true value "
            "in less than 93 % of samples"
        )
    unclear = metrics["not_above_chance"]
    if unclear:
        yield f"Recall not significantly above chance (too few images): {some_of(unclear)}"
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
            f"{result['assert']}  ({format_number(result['value'])}, 95 % "
            f"{_interval(result['interval'], rough=result.get('rough', False))}"
            f"{', strict' if result['strict'] else ''})",
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
        small = max(-low, high) <= _SMALL_DIFFERENCE
        verdict = "as good and much faster" if small else "much faster"
        return (
            f"No significant difference between the model and the linear probe {figures}: "
            f"--recipe quick is {verdict}."
        )
    better = "better" if points > 0 else "worse"
    chosen = ""
    if metrics["split"] == "validation":
        chosen = " These images also selected the best epoch, which favours fine-tuning."
    return f"The model is {better} than the linear probe {figures}.{chosen}"


def _baselines(baselines: Mapping[str, Any]) -> str:
    majority, probe = baselines["majority"], baselines["probe"]
    text = f"{format_rate(majority['accuracy'])} by always predicting {majority['class']}"
    if probe is not None:
        text += f", {format_rate(probe['accuracy'])} by the linear probe"
    return f"Baselines: {text}"


def format_number(value: float | None) -> str:
    """Return a figure with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def _interval(bounds: list[float] | None, *, rough: bool = False) -> str:
    if bounds is None:
        return "–"
    return f"{bounds[0]:.3f} … {bounds[1]:.3f}{' rough' if rough else ''}"
