"""Conditions on metrics: parsed, rejected, met and not met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tltool.errors import GateError, UsageError
from tltool.evaluation.metrics.asserts import (
    METRICS,
    check_asserts,
    check_sample_sizes,
    evaluate_asserts,
    require_asserts,
)
from tltool.evaluation.metrics.classification import compute_metrics

NAMES = ["ants", "bees [small]", "wasps"]


@pytest.fixture(name="metrics", scope="module")
def _metrics() -> dict[str, Any]:
    """Return the metrics of 30 images, of which 3 are misclassified."""
    labels = np.arange(30) % 3
    predicted = np.where(np.arange(30) % 10 == 0, (labels + 1) % 3, labels)
    return compute_metrics(np.eye(3)[predicted] * 0.7 + 0.1, labels, NAMES)


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("accuracy>=0.9", True),
        ("accuracy > 0.9", False),
        ("recall[bees [small]]>=0.85", True),
        ("recall[bees [small]]>=9.5e-1", False),
        ("ece<=0.11", True),
        ("ece<0.01", False),
        ("f1>=0.85", True),
        ("weighted_f1>=0.95", False),
        ("top_2>=0.9", True),
    ],
)
def test_a_condition_is_met_or_not(metrics: dict[str, Any], text: str, passed: bool) -> None:
    check_asserts([text], NAMES)
    (result,) = evaluate_asserts([text], metrics, strict=False)
    assert result["passed"] is passed
    if not passed:
        with pytest.raises(GateError, match="is not met: it is 0"):
            require_asserts([result])


def test_every_metric_can_be_used(metrics: dict[str, Any]) -> None:
    texts = [f"{name}>=-1" for name in METRICS if name not in ("top_3", "top_5")]
    for strict in (False, True):
        results = evaluate_asserts(texts, metrics, strict=strict)
        assert [result["passed"] for result in results] == [True] * len(texts)
        assert all(low <= r["value"] <= high for r in results for low, high in [r["interval"]])


@pytest.mark.parametrize("text", ["accuracy>=0.85", "ece<=0.11", "recall[ants]>0.8"])
def test_strict_compares_the_worse_bound_of_the_interval(
    metrics: dict[str, Any], text: str
) -> None:
    assert evaluate_asserts([text], metrics, strict=False)[0]["passed"]
    with pytest.raises(GateError, match=r"not met with --strict: .* interval 0"):
        require_asserts(evaluate_asserts([text], metrics, strict=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acuracy>=0.9", "Did you mean 'accuracy'?"),
        ("accuracy[ants]>=0.9", "is not a per-class metric"),
        ("recall[ant]>=0.9", "Did you mean 'ants'?"),
        ("recall[]>=0.9", "there is no class ''"),
        ("accuracy=0.9", "is not a condition"),
        ("accuracy>=high", "is not a condition"),
        ("accuracy>=1e", "is not a condition"),
        ("", "is not a condition"),
        ("top_5>=0.9", "top_5 is not defined for 3 classes"),
        ("accuracy>=90", "'accuracy>=90' can never hold: accuracy is between 0 and 1"),
        ("accuracy>1", "can never hold"),
        ("recall[ants]>=1e9", "can never hold"),
        ("ece<=-1", "can never hold"),
        ("ece<0", "can never hold"),
        ("brier>=2.5", "brier is between 0 and 2"),
        ("log_loss<=-0.1", "log_loss is never below 0"),
    ],
)
def test_an_invalid_condition_is_rejected(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_asserts([text], NAMES)
    assert message in raised.value.message


@pytest.mark.parametrize("text", ["accuracy>=1", "ece<=0", "brier>=2", "log_loss>=3"])
def test_the_best_possible_value_is_a_valid_bound(text: str) -> None:
    check_asserts([text], NAMES)


@pytest.mark.parametrize(
    ("text", "nearly"),
    [
        ("accuracy>=1", "accuracy>=0.99"),
        ("ece<=0", "ece<=0.01"),
        ("recall[ants]>=1.0", "recall[ants]>0.99"),
        ("log_loss<=0", "log_loss<=0.1"),
        ("brier>=2", "brier>=1.9"),
        ("accuracy<=0", "accuracy<=0.1"),
    ],
)
def test_a_bound_that_no_interval_reaches_is_rejected_with_strict(text: str, nearly: str) -> None:
    check_asserts([text, nearly], NAMES)
    check_asserts([nearly], NAMES, strict=True)
    with pytest.raises(
        UsageError, match="can never hold with --strict: no 95 % interval"
    ) as raised:
        check_asserts([text], NAMES, strict=True)
    assert "--strict" in str(raised.value.hint)


@pytest.mark.parametrize("text", ["accuracy>=0.9", "recall[ants]>=0.75", "top_2>0.9"])
def test_few_images_cannot_meet_a_strict_condition(text: str) -> None:
    enough = dict.fromkeys(NAMES, 12)
    check_sample_sizes([text, "accuracy<=0.5", "ece<=0.001"], enough)
    with pytest.raises(
        UsageError,
        match=r"can never hold with --strict and \d+ images: the 95 % interval for 0 errors",
    ):
        check_sample_sizes([text], dict.fromkeys(NAMES, 10))
    labels = np.repeat(np.arange(3), 10)  # a model without errors does not meet it
    metrics = compute_metrics(np.eye(3)[labels] * 0.7 + 0.1, labels, NAMES)
    assert not evaluate_asserts([text], metrics, strict=True)[0]["passed"]


def test_a_percentage_is_corrected_to_a_share() -> None:
    with pytest.raises(UsageError) as raised:
        check_asserts(["accuracy>=90"])
    assert raised.value.hint == "write 0.9 for 90 %"


def test_a_sample_without_errors_does_not_meet_every_strict_condition() -> None:
    labels = np.arange(20) % 2
    found = compute_metrics(np.where(np.eye(2)[labels] > 0, 0.999, 0.001), labels, NAMES[:2])
    for text in ("ece<=0.05", "log_loss<=0.1", "brier<=0.1"):
        (result,) = evaluate_asserts([text], found, strict=False)
        assert result["passed"]
        with pytest.raises(GateError, match="is not met with --strict: it is 0"):
            require_asserts(evaluate_asserts([text], found, strict=True))


def test_the_calibration_error_of_a_condition_is_that_beyond_chance(
    metrics: dict[str, Any],
) -> None:
    (result,) = evaluate_asserts(["ece<=0.05"], metrics, strict=False)
    assert result["value"] == metrics["ece"] < metrics["ece_raw"]


def test_all_conditions_that_are_not_met_are_listed(metrics: dict[str, Any]) -> None:
    with pytest.raises(GateError) as raised:
        require_asserts(
            evaluate_asserts(["accuracy>=1", "ece<=0", "accuracy>0"], metrics, strict=False)
        )
    assert "accuracy>=1" in raised.value.message and "ece<=0" in raised.value.message
    assert "accuracy>0" not in raised.value.message


def test_a_condition_on_an_undefined_metric_is_not_met() -> None:
    metrics = compute_metrics(np.eye(2)[[0, 0]], np.array([0, 0]), ["ants", "bees"])
    with pytest.raises(GateError, match="is not met: it is undefined on these images"):
        require_asserts(evaluate_asserts(["recall[bees]>=0"], metrics, strict=False))
