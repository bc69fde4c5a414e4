"""Conditions that a model must meet: ``accuracy>=0.9``, ``recall[bees]>=0.85``, ``ece<=0.05``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.errors import GateError, UsageError, did_you_mean, some_of

RATES = ("accuracy", "balanced_accuracy")
TOP_K = {"top_2": "2", "top_3": "3", "top_5": "5"}
SCORES = ("log_loss", "brier", "ece", "roc_auc", "average_precision")
MEANS = ("precision", "recall", "f1")  # without [class] the macro average
CLASS_METRICS = (*MEANS, "roc_auc", "average_precision")
METRICS = (*RATES, *TOP_K, *SCORES, *MEANS, *(f"weighted_{name}" for name in MEANS))

DRIFT_METRICS = (
    *("drift", "psi_classes", "psi_confidence", "feature_auc", "ood_rate"),
    *("accuracy", "estimated_accuracy"),
)
"""Metrics of images without labels, see ``tltool.evaluation.drift``."""

_UPPER_LIMITS = {  # all other metrics are in 0 … 1
    "log_loss": math.inf,
    "brier": 2.0,
    "psi_classes": math.inf,
    "psi_confidence": math.inf,
}
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_FORM = re.compile(r"\s*(\w+)\s*(?:\[(.*)\])?\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")
_HINT = "write METRIC>=NUMBER or METRIC[CLASS]>=NUMBER, such as 'recall[bees]>=0.85'"


@dataclass(frozen=True)
class Assert:
    """One condition.

    Attributes:
        text: as the user wrote it.
        metric: one of ``METRICS``.
        class_name: the class; None for a metric over all classes.
        comparison: one of >=, <=, >, <.
        bound: what the metric is compared with.
    """

    text: str
    metric: str
    class_name: str | None
    comparison: str
    bound: float


def parse_assert(text: str, metrics: Sequence[str] = METRICS) -> Assert:
    """Return the condition in ``text``.

    Args:
        text: as the user wrote it.
        metrics: those over all classes that are known.

    Raises:
        UsageError: it is malformed, its metric is unknown, or no model can meet it.
    """
    match = _FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        metric, class_name, comparison, bound = match.groups()
        number = float(bound)
    except ValueError:
        raise UsageError(f"'{text}' is not a condition", hint=_HINT) from None
    known = metrics if class_name is None else CLASS_METRICS
    if metric not in known:
        kind = "a metric" if class_name is None else "a per-class metric"
        raise UsageError(
            f"'{text}': '{metric}' is not {kind}.{did_you_mean(metric, known)}",
            hint=f"choose one of {', '.join(known)}",
        )
    condition = Assert(text, metric, class_name, comparison, number)
    _check_possible(condition)
    return condition


def check_asserts(
    texts: Sequence[str], class_names: Sequence[str] | None = None, *, strict: bool = False
) -> None:
    """Check that the conditions are valid and can be met.

    Args:
        texts: the conditions.
        class_names: those of the model; None if not yet known.
        strict: whether the worse bound of the confidence interval is compared.

    Raises:
        UsageError: a condition is malformed, can never hold, or has an unknown metric or class.
    """
    for condition in map(parse_assert, texts):
        if strict:
            _check_possible_strict(condition)
        if class_names is not None:
            _check_classes(condition, class_names)


def check_sample_sizes(texts: Sequence[str], counts: Mapping[str, int]) -> None:
    """Check that there are enough images for strict conditions on rates.

    Args:
        texts: the conditions, which ``check_asserts`` has accepted.
        counts: evaluation images of each class.

    Raises:
        UsageError: not even a model without errors could meet a condition with so few images.
    """
    # imported here: recipes are checked without numpy
    from tltool.evaluation.metrics.confidence_intervals import wilson_interval

    for condition in map(parse_assert, texts):
        recall = condition.metric == "recall" and condition.class_name is not None
        if not condition.comparison.startswith(">") or not (
            recall or condition.metric in ("accuracy", *TOP_K)
        ):
            continue
        n = counts[condition.class_name or ""] if recall else sum(counts.values())
        best = wilson_interval(n, n)[0]
        if not _COMPARISONS[condition.comparison](best, condition.bound):
            raise UsageError(
                f"'{condition.text}' can never hold with --strict and {n:,} image{'s' * (n != 1)}: "
                f"the 95 % interval for 0 errors starts at {best:.3f}",
                hint="evaluate on more images, lower the bound, or omit --strict",
            )


def evaluate_asserts(
    texts: Sequence[str], metrics: Mapping[str, Any], *, strict: bool
) -> list[dict[str, Any]]:
    """Return ``[{assert, value, interval, rough, strict, passed}]`` for conditions on metrics.

    Args:
        texts: the conditions, which ``check_asserts`` has accepted.
        metrics: the document of ``compute_metrics``.
        strict: compare the worse bound of the 95 % interval: the lower one with >= and >.
    """
    return [_evaluate(parse_assert(text), metrics, strict) for text in texts]


def check_drift_asserts(texts: Sequence[str]) -> None:
    """Check conditions on ``DRIFT_METRICS``, such as ``drift<=0.2``.

    Raises:
        UsageError: a condition is malformed, can never hold, or has an unknown metric.
    """
    for text in texts:
        if parse_assert(text, DRIFT_METRICS).class_name is not None:
            raise UsageError(
                f"'{text}': conditions on drift are over all classes",
                hint=f"choose one of {', '.join(DRIFT_METRICS)}",
            )


def evaluate_drift_asserts(
    texts: Sequence[str], values: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """Return the same as ``evaluate_asserts``, for ``DRIFT_METRICS``.

    Args:
        texts: the conditions, which ``check_drift_asserts`` has accepted.
        values: of the metrics; None or missing where one is undefined.
    """
    results = []
    for text in texts:
        condition = parse_assert(text, DRIFT_METRICS)
        value = values.get(condition.metric)
        compare = _COMPARISONS[condition.comparison]
        passed = value is not None and bool(compare(value, condition.bound))
        known = {"assert": text, "value": value, "interval": None, "rough": False}
        results.append({**known, "strict": False, "passed": passed})
    return results


def require_asserts(results: Sequence[Mapping[str, Any]], *, hint: str | None = None) -> None:
    """Raise if a condition is not met.

    Raises:
        GateError: lists every condition that is not met.
    """
    failed = [_describe_failure(result) for result in results if not result["passed"]]
    if failed:
        raise GateError("; ".join(failed), hint=hint)


def _check_possible(condition: Assert) -> None:
    most = _UPPER_LIMITS.get(condition.metric, 1.0)
    best = most if condition.comparison.startswith(">") else 0.0
    if not _COMPARISONS[condition.comparison](best, condition.bound):
        between = "never below 0" if math.isinf(most) else f"between 0 and {most:g}"
        percent = most == 1.0 and 1.0 < condition.bound <= 100.0
        raise UsageError(
            f"'{condition.text}' can never hold: {condition.metric} is {between}",
            hint=f"write {condition.bound / 100:g} for {condition.bound:g} %" if percent else _HINT,
        )


def _check_possible_strict(condition: Assert) -> None:
    """Reject a bound that only the best possible value meets: no interval reaches it."""
    most, up = _UPPER_LIMITS.get(condition.metric, 1.0), condition.comparison.startswith(">")
    if condition.bound == (most if up else 0.0):
        raise UsageError(
            f"'{condition.text}' can never hold with --strict: no 95 % interval "
            f"{'starts' if up else 'ends'} at {condition.bound:g}",
            hint=f"use a bound {'below' if up else 'above'} {condition.bound:g}, or omit --strict",
        )


def _check_classes(condition: Assert, class_names: Sequence[str]) -> None:
    name = condition.class_name
    if name is not None and name not in class_names:
        raise UsageError(
            f"'{condition.text}': there is no class '{name}'.{did_you_mean(name, class_names)}",
            hint=f"the classes are {some_of(class_names, 20)}",
        )
    k = TOP_K.get(condition.metric)
    if k is not None and int(k) >= len(class_names):
        raise UsageError(
            f"'{condition.text}': {condition.metric} is not defined for {len(class_names)} classes",
            hint="use accuracy",
        )


def _evaluate(condition: Assert, metrics: Mapping[str, Any], strict: bool) -> dict[str, Any]:
    value, interval, rough = _value_and_interval(condition, metrics)
    compared = value
    if strict and value is not None:
        worse = 0 if condition.comparison.startswith(">") else 1
        compared = interval[worse] if interval else None
    compare = _COMPARISONS[condition.comparison]
    return {
        "assert": condition.text,
        "value": value,
        "interval": interval,
        "rough": rough,
        "strict": strict,
        "passed": compared is not None and bool(compare(compared, condition.bound)),
    }


def _value_and_interval(
    condition: Assert, metrics: Mapping[str, Any]
) -> tuple[float | None, list[float] | None, bool]:
    """Return the metric, its interval and whether that is rough; None where it is undefined."""
    metric = condition.metric
    if metric in RATES or metric in TOP_K:
        rate = metrics["top_k"][TOP_K[metric]] if metric in TOP_K else metrics[metric]
        return rate["value"], [rate["low"], rate["high"]], rate["rough"]
    group: Mapping[str, Any] = metrics
    if condition.class_name is not None:
        group = next(r for r in metrics["per_class"] if r["name"] == condition.class_name)
    elif metric in MEANS:
        group = metrics["macro"]
    elif metric.startswith("weighted_"):
        group, metric = metrics["weighted"], metric.removeprefix("weighted_")
    return group[metric], group[f"{metric}_interval"], group.get(f"{metric}_rough", False)


def _describe_failure(result: Mapping[str, Any]) -> str:
    value, interval = result["value"], result["interval"]
    if value is None:
        return f"{result['assert']} is not met: it is undefined on these images"
    if not result["strict"]:
        return f"{result['assert']} is not met: it is {value:.4f}"
    low, high = interval
    return (
        f"{result['assert']} is not met with --strict: it is {value:.4f}, 95 % interval {low:.4f} "
        f"to {high:.4f}"
    )
