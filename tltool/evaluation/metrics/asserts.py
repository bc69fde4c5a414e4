"""Conditions that a model must meet: ``accuracy>=0.9``, ``recall[bees]>=0.85``, ``ece<=0.05``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.errors import GateError, UsageError, did_you_mean

RATES = ("accuracy", "balanced_accuracy")
TOP_K = {"top_2": "2", "top_3": "3", "top_5": "5"}
FIGURES = ("log_loss", "brier", "ece", "roc_auc", "average_precision")
MEANS = ("precision", "recall", "f1")  # of all classes without [class], the macro mean
OF_CLASS = (*MEANS, "roc_auc", "average_precision")
METRICS = (*RATES, *TOP_K, *FIGURES, *MEANS, *(f"weighted_{name}" for name in MEANS))

_MOST = {"log_loss": math.inf, "brier": 2.0}  # every other figure is a share, 0 … 1
_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_FORM = re.compile(r"\s*(\w+)\s*(?:\[(.*)\])?\s*(>=|<=|>|<)\s*([-+.\deE]+)\s*")
_HINT = "write METRIC>=NUMBER or METRIC[CLASS]>=NUMBER, such as 'recall[bees]>=0.85'"


@dataclass(frozen=True)
class Assert:
    """One condition.

    Attributes:
        text: as the user wrote it.
        metric: one of ``METRICS``.
        class_name: of one class only, None for all.
        comparison: one of >=, <=, >, <.
        bound: what the figure is compared with.
    """

    text: str
    metric: str
    class_name: str | None
    comparison: str
    bound: float


def parse_assert(text: str) -> Assert:
    """Return the condition that ``text`` says.

    Raises:
        UsageError: it is none, its metric is unknown, or no figure can meet it.
    """
    found = _FORM.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        metric, class_name, comparison, bound = found.groups()
        number = float(bound)
    except ValueError:
        raise UsageError(f"'{text}' is no condition", hint=_HINT) from None
    known = METRICS if class_name is None else OF_CLASS
    if metric not in known:
        told = "no metric" if class_name is None else "no metric of a single class"
        raise UsageError(
            f"'{text}': '{metric}' is {told}.{did_you_mean(metric, known)}",
            hint=f"there are {', '.join(known)}",
        )
    condition = Assert(text, metric, class_name, comparison, number)
    _check_possible(condition)
    return condition


def check_asserts(
    texts: Sequence[str], class_names: Sequence[str] | None = None, *, strict: bool = False
) -> None:
    """Refuse conditions that can never be checked.

    Args:
        texts: the conditions.
        class_names: those of the model; None while they are not known.
        strict: they are held against the worse end of the interval.

    Raises:
        UsageError: a condition is malformed or can never hold, or names an unknown metric or class.
    """
    for condition in map(parse_assert, texts):
        if strict:
            _check_possible_strictly(condition)
        if class_names is not None:
            _check_classes(condition, class_names)


def check_enough(texts: Sequence[str], counts: Mapping[str, int]) -> None:
    """Refuse strict conditions on a rate that not even a faultless model could meet.

    Args:
        texts: the conditions, which ``check_asserts`` has accepted.
        counts: images of each class to be measured on.

    Raises:
        UsageError: there are too few images for one of them.
    """
    from tltool.evaluation.metrics.intervals import (
        wilson,  # here: recipes are checked without numpy
    )

    for condition in map(parse_assert, texts):
        of_class = condition.metric == "recall" and condition.class_name is not None
        if not condition.comparison.startswith(">") or not (
            of_class or condition.metric in ("accuracy", *TOP_K)
        ):
            continue
        n = counts[condition.class_name or ""] if of_class else sum(counts.values())
        best = wilson(n, n)[0]
        if not _COMPARISONS[condition.comparison](best, condition.bound):
            raise UsageError(
                f"'{condition.text}' can never hold strictly with {n:,} image{'s' * (n != 1)}: the "
                f"95 % interval of a model without a mistake begins at {best:.3f}",
                hint="measure on more images, lower the bound, or leave out --strict",
            )


def checked(
    texts: Sequence[str], metrics: Mapping[str, Any], *, strict: bool
) -> list[dict[str, Any]]:
    """Return ``[{assert, value, interval, strict, passed}]`` for conditions on a metrics document.

    Args:
        texts: the conditions, which ``check_asserts`` has accepted.
        metrics: the document of ``compute_metrics``.
        strict: compare the worse end of the 95 % interval: the lower one with >= and >.
    """
    return [_checked(parse_assert(text), metrics, strict) for text in texts]


def require(results: Sequence[Mapping[str, Any]], *, hint: str | None = None) -> None:
    """Refuse a model that does not meet all conditions.

    Raises:
        GateError: names every condition that is not met.
    """
    failed = [_told(result) for result in results if not result["passed"]]
    if failed:
        raise GateError("; ".join(failed), hint=hint)


def _check_possible(condition: Assert) -> None:
    most = _MOST.get(condition.metric, 1.0)
    best = most if condition.comparison.startswith(">") else 0.0
    if not _COMPARISONS[condition.comparison](best, condition.bound):
        between = "never below 0" if math.isinf(most) else f"between 0 and {most:g}"
        percent = most == 1.0 and 1.0 < condition.bound <= 100.0
        raise UsageError(
            f"'{condition.text}' can never hold: {condition.metric} is {between}",
            hint=f"write {condition.bound / 100:g} for {condition.bound:g} %" if percent else _HINT,
        )


def _check_possible_strictly(condition: Assert) -> None:
    """Refuse what only the best possible value would meet: no interval ends there."""
    most, up = _MOST.get(condition.metric, 1.0), condition.comparison.startswith(">")
    if condition.bound == (most if up else 0.0):
        raise UsageError(
            f"'{condition.text}' can never hold strictly: no 95 % interval "
            f"{'begins' if up else 'ends'} at {condition.bound:g}",
            hint="give a bound short of it, or leave out --strict",
        )


def _check_classes(condition: Assert, class_names: Sequence[str]) -> None:
    name = condition.class_name
    if name is not None and name not in class_names:
        raise UsageError(
            f"'{condition.text}': there is no class '{name}'.{did_you_mean(name, class_names)}",
            hint=f"the classes are {', '.join(class_names)}",
        )
    k = TOP_K.get(condition.metric)
    if k is not None and int(k) >= len(class_names):
        raise UsageError(
            f"'{condition.text}': with {len(class_names)} classes there is no {condition.metric}",
            hint="use accuracy",
        )


def _checked(condition: Assert, metrics: Mapping[str, Any], strict: bool) -> dict[str, Any]:
    value, interval = _figure(condition, metrics)
    judged = value
    if strict and value is not None:
        worse = 0 if condition.comparison.startswith(">") else 1
        judged = interval[worse] if interval else None
    compare = _COMPARISONS[condition.comparison]
    return {
        "assert": condition.text,
        "value": value,
        "interval": interval,
        "strict": strict,
        "passed": judged is not None and bool(compare(judged, condition.bound)),
    }


def _figure(
    condition: Assert, metrics: Mapping[str, Any]
) -> tuple[float | None, list[float] | None]:
    """Return a figure and its interval; None for what is not defined."""
    metric = condition.metric
    if metric in RATES or metric in TOP_K:
        rate = metrics["top_k"][TOP_K[metric]] if metric in TOP_K else metrics[metric]
        return rate["value"], [rate["low"], rate["high"]]
    place: Mapping[str, Any] = metrics
    if condition.class_name is not None:
        place = next(r for r in metrics["per_class"] if r["name"] == condition.class_name)
    elif metric in MEANS:
        place = metrics["macro"]
    elif metric.startswith("weighted_"):
        place, metric = metrics["weighted"], metric.removeprefix("weighted_")
    return place[metric], place[f"{metric}_interval"]


def _told(result: Mapping[str, Any]) -> str:
    value, interval = result["value"], result["interval"]
    if value is None:
        return f"{result['assert']} cannot be told: no image decides it"
    if not result["strict"]:
        return f"{result['assert']} is not met: it is {value:.4f}"
    if interval is None:
        return (
            f"{result['assert']} cannot be told strictly: of these images no interval can be made "
            "(they are too many, or all alike)"
        )
    low, high = interval
    return (
        f"{result['assert']} is not met strictly: it is {value:.4f}, interval {low:.4f} to "
        f"{high:.4f}"
    )
