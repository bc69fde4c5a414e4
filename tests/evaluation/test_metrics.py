"""Classification metrics against scikit-learn, and edge cases."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tltool.errors import DataError, GateError
from tltool.evaluation.metrics.calibration_error import (
    calibration_metrics,
    expected_calibration_error,
)
from tltool.evaluation.metrics.class_metrics import confusion_matrix_metrics
from tltool.evaluation.metrics.classification import compute_metrics
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.probability_scores import log_loss
from tltool.evaluation.report.text_tables import PER_CLASS_COLUMNS, format_rate, per_class_rows

NAMES = ["ants", "bees", "crickets", "dragonflies"]


@pytest.fixture(name="predictions")
def _predictions() -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities float32 [60, 4] and labels int64 [60] with accuracy above chance."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 60)
    logits = random.normal(size=(60, 4)) + 1.5 * np.eye(4)[labels]
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_every_metric_agrees_with_scikit_learn(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn import metrics as reference

    probabilities, labels = predictions
    ours = compute_metrics(probabilities, labels, NAMES)
    predicted = probabilities.argmax(axis=1)
    rows = reference.precision_recall_fscore_support(labels, predicted)
    for row, expected in zip(ours["per_class"], zip(*rows, strict=True), strict=True):
        found = [row[key] for key in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx(expected)
    assert ours["confusion_matrix"] == reference.confusion_matrix(labels, predicted).tolist()
    assert ours["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-5)
    assert ours["accuracy"]["value"] == reference.accuracy_score(labels, predicted)
    top = {k: reference.top_k_accuracy_score(labels, probabilities, k=int(k)) for k in "23"}
    assert {k: rate["value"] for k, rate in ours["top_k"].items()} == pytest.approx(top)


def test_rates_have_an_interval(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = compute_metrics(*predictions, NAMES)
    for rate in (metrics["accuracy"], *metrics["top_k"].values()):
        assert 0 <= rate["low"] < rate["value"] < rate["high"] <= 1
    for row in metrics["per_class"]:
        assert row["recall_interval"][0] <= row["recall"] <= row["recall_interval"][1]


def test_the_document_is_strict_json(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = compute_metrics(*predictions, NAMES)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_class_without_images_has_no_recall_and_does_not_count() -> None:
    probabilities = np.eye(4, dtype=np.float32)[[0, 1, 1]]
    metrics = compute_metrics(probabilities, np.array([0, 1, 0]), NAMES)
    absent = metrics["per_class"][3]
    assert absent["recall"] is None and absent["precision"] is None and absent["f1"] is None
    assert absent["support"] == 0
    assert metrics["macro"]["recall"] == pytest.approx(0.75)
    json.dumps(metrics, allow_nan=False)


def test_a_wrong_prediction_with_probability_1_has_a_finite_loss() -> None:
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    assert log_loss(probabilities, np.array([0, 1])) == pytest.approx(15.942 / 2, abs=1e-3)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile(np.array([[0.8, 0.2]], dtype=np.float32), (100, 1))
    labels = (np.arange(100) >= 60).astype(np.int64)
    for order in (np.arange(100), np.random.default_rng(0).permutation(100)):
        error = expected_calibration_error(probabilities, labels[order])
        assert error == pytest.approx(0.2, abs=1e-6)


def test_calibrated_confidence_has_no_error() -> None:
    probabilities = np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (400, 1))
    labels = (np.arange(400) % 4 == 3).astype(np.int64)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0, abs=1e-6)


def test_with_ties_top_k_is_never_below_top_1() -> None:
    metrics = compute_metrics(np.full((4, 4), 0.25), np.array([0, 0, 1, 3]), NAMES)
    assert metrics["accuracy"]["value"] == 0.5
    assert metrics["top_k"]["2"]["value"] == 0.75


def test_two_classes_have_no_top_k() -> None:
    assert compute_metrics(np.eye(2), np.array([0, 1]), NAMES[:2])["top_k"] == {}


def test_nothing_to_evaluate_is_an_error_about_the_data() -> None:
    with pytest.raises(DataError, match="no images to evaluate"):
        compute_metrics(np.zeros((0, 4)), np.zeros(0, dtype=np.int64), NAMES)


def test_a_diverged_model_fails_the_gate() -> None:
    with pytest.raises(GateError, match="1 of 2 images"):
        compute_metrics(np.array([[np.nan, 0.5], [0.5, 0.5]]), np.array([0, 1]), NAMES[:2])


@pytest.mark.parametrize(("shape", "labels"), [((2, 3), [0, 1]), ((3, 4), [0, 1]), ((1, 4), [4])])
def test_shapes_that_do_not_match_are_rejected(shape: Any, labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"classes|do not match"):
        compute_metrics(np.full(shape, 0.25), np.array(labels), NAMES)


def test_the_table_shows_a_dash_for_undefined_metrics() -> None:
    metrics = compute_metrics(np.eye(2)[[0, 0]], np.array([0, 0]), ["ants", "bees"])
    rows = per_class_rows(metrics, most=50)
    assert rows[0] == ("ants", "2", "1.000", "1.000", "0.342 … 1.000 rough", "1.000")
    assert rows[1] == ("bees", "0", "–", "–", "–", "–")
    assert len(rows[0]) == len(PER_CLASS_COLUMNS)
    assert format_rate(metrics["accuracy"]) == "1.000 [0.342, 1.000] rough"


@st.composite
def any_predictions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw probabilities with ties and labels that may leave classes out."""
    classes = draw(st.integers(2, 5))
    n = draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = random.integers(0, draw(st.integers(1, classes)), n)
    scores = random.integers(1, draw(st.sampled_from([3, 1000])), (n, classes)).astype(float)
    return scores / scores.sum(axis=1, keepdims=True), labels, [f"c{k}" for k in range(classes)]


@settings(max_examples=60)
@given(any_predictions())
def test_any_predictions_give_the_metrics_of_scikit_learn(
    case: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    from sklearn import metrics as reference

    probabilities, labels, names = case
    ours = compute_metrics(probabilities, labels, names)
    json.dumps(ours, allow_nan=False)
    present, predicted = np.unique(labels), probabilities.argmax(axis=1)
    for average in ("macro", "weighted"):
        expected = reference.precision_recall_fscore_support(
            labels, predicted, labels=present, average=average, zero_division=0
        )
        found = [ours[average][key] for key in ("precision", "recall", "f1")]
        assert found == pytest.approx(list(expected[:3]))
    one_hot = np.eye(len(names))[labels]
    assert ours["brier"] == pytest.approx(((probabilities - one_hot) ** 2).sum(axis=1).mean())
    assert ours["balanced_accuracy"]["value"] == pytest.approx(ours["macro"]["recall"])
    for number, row in enumerate(ours["per_class"]):
        truth, scores = one_hot[:, number], probabilities[:, number]
        if 0 < truth.sum() < len(labels):
            assert row["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, scores))
            average = reference.average_precision_score(truth, scores)
            assert row["average_precision"] == pytest.approx(average)
        else:
            assert row["roc_auc"] is None and row["average_precision"] is None
    defined = [row["roc_auc"] for row in ours["per_class"] if row["roc_auc"] is not None]
    assert ours["roc_auc"] == (pytest.approx(np.mean(defined)) if defined else None)


@settings(max_examples=30)
@given(any_predictions())
def test_every_interval_contains_its_value(case: tuple[np.ndarray, np.ndarray, list[str]]) -> None:
    metrics = compute_metrics(*case)
    groups = [metrics, metrics["macro"], metrics["weighted"], *metrics["per_class"]]
    found = 0
    for group in groups:
        for key in [key for key in group if key.endswith("_interval")]:
            value, interval = group[key.removesuffix("_interval")], group[key]
            assert value is not None or interval is None
            if interval is not None:
                assert interval[0] <= value <= interval[1]
                found += 1
            else:
                assert value is None
    assert found >= 9


def test_a_sample_without_errors_does_not_show_that_there_are_none() -> None:
    labels = np.arange(20) % 2
    metrics = compute_metrics(np.where(np.eye(2)[labels] > 0, 0.999, 0.001), labels, NAMES[:2])
    assert metrics["log_loss"] == pytest.approx(0.001, abs=1e-6)
    assert metrics["log_loss_interval"][1] > 0.3  # one such error in 20 costs 6.9 / 20
    assert metrics["brier_interval"][1] > 0.1
    assert metrics["ece_raw"] == pytest.approx(0.001)
    low, high = metrics["ece_interval"]
    assert low == 0 and high > 0.05


def calibrated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of a perfectly calibrated model with a mean confidence of 0.84."""
    random = np.random.default_rng(seed)
    first = 1 / (1 + np.exp(-random.normal(0, 2.6, n)))
    return np.stack([first, 1 - first], axis=1), (random.random(n) > first).astype(np.int64)


@pytest.mark.parametrize("n", [50, 153, 400])
def test_the_calibration_error_of_a_calibrated_model_is_explained_by_chance(n: int) -> None:
    found = [calibration_metrics(*calibrated(n, seed)) for seed in range(60)]
    raw = np.mean([one["ece_raw"] for one in found])
    assert raw == pytest.approx(found[0]["ece_expected_by_chance"], rel=0.1)
    assert raw > (0.05 if n < 200 else 0.02)
    assert np.mean([one["ece_raw"] <= one["ece_by_chance"] for one in found]) >= 0.9
    assert np.mean([one["ece_interval"][0] == 0 for one in found]) >= 0.93


def test_the_documented_condition_accepts_a_calibrated_model() -> None:
    """The raw error of 153 images is above 0.05 in most samples."""
    found = [calibration_metrics(*calibrated(153, seed)) for seed in range(200)]
    assert np.mean([one["ece_raw"] > 0.05 for one in found]) > 0.5
    assert np.mean([one["ece"] > 0.05 for one in found]) <= 0.05


def test_overconfidence_is_not_explained_by_chance() -> None:
    probabilities, labels = calibrated(153, 0)
    sharp = probabilities**4 / (probabilities**4).sum(axis=1, keepdims=True)
    metrics = compute_metrics(sharp, labels, NAMES[:2], uncalibrated=probabilities)
    assert metrics["ece_raw"] > metrics["ece_by_chance"]
    expected = metrics["ece_raw"] - metrics["ece_expected_by_chance"]
    assert metrics["ece"] == pytest.approx(expected)
    assert metrics["ece_interval"][0] > 0
    for figure in ("ece_uncalibrated", "log_loss_uncalibrated"):
        low, high = metrics[f"{figure}_interval"]
        assert low <= metrics[figure] <= high and low < high


def test_a_class_of_two_images_widens_the_interval_of_the_macro_average() -> None:
    labels = np.repeat([0, 1], [998, 2])
    metrics = compute_metrics(np.eye(2)[labels], labels, NAMES[:2])
    assert metrics["accuracy"]["low"] > 0.99
    assert 0.6 < metrics["balanced_accuracy"]["low"] < 0.7  # the rare class: 0.34 to 1
    assert metrics["macro"]["f1_interval"][0] < 0.8
    assert metrics["macro"]["precision_interval"][0] < 0.8
    assert metrics["roc_auc_interval"][0] < 0.5
    assert metrics["weighted"]["recall_interval"][0] > 0.99


def test_the_interval_of_balanced_accuracy_has_its_coverage_with_a_rare_class() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(150):
        labels = np.repeat([0, 1], [300, 5])
        right = random.random(305) < np.where(labels == 0, 0.95, 0.7)
        matrix = ConfusionMatrix.count(labels, np.where(right, labels, 1 - labels), classes=2)
        rate = confusion_matrix_metrics(matrix, NAMES[:2])["balanced_accuracy"]
        covered += rate["low"] <= 0.825 <= rate["high"]
    assert covered / 150 >= 0.92


def test_the_class_that_needs_more_images_is_named() -> None:
    many, one = np.repeat([0, 1], [99, 1]), np.repeat([0, 1], [9, 1])
    assert compute_metrics(np.eye(2)[many], many, NAMES[:2])["not_above_chance"] == []
    metrics = compute_metrics(np.eye(2)[one], one, NAMES[:2])
    assert metrics["not_above_chance"] == NAMES[:2]
    assert metrics["needs_more_images"] == ["bees"]
    alone = compute_metrics(np.eye(2)[[0] * 100], np.zeros(100, np.int64), NAMES[:2])
    assert alone["not_above_chance"] == [] and alone["per_class"][0]["above_chance"] is None


def test_a_model_without_errors_still_has_intervals() -> None:
    labels = np.arange(20) % 2
    metrics = compute_metrics(np.eye(2)[labels], labels, ["ants", "bees"])
    least = metrics["accuracy"]["low"]
    assert 0.8 < least < 0.9
    # the mean of two rates of ten images is a little more uncertain than one rate of twenty
    assert 0.8 < metrics["balanced_accuracy"]["low"] < least
    assert 0.8 < metrics["macro"]["f1_interval"][0] < 1
    assert metrics["weighted"]["f1_interval"][0] == least
    assert 0.7 < metrics["roc_auc_interval"][0] < 0.8
    for row in metrics["per_class"]:
        intervals = [row[f"{key}_interval"] for key in ("recall", "f1", "roc_auc")]
        assert all(0.6 < low < 0.9 and high == 1 for low, high in intervals)


def test_a_single_class_has_no_roc_auc() -> None:
    metrics = compute_metrics(np.eye(2)[[0, 0, 1]], np.array([0, 0, 0]), ["ants", "bees"])
    assert metrics["roc_auc"] is None and metrics["average_precision"] is None
    assert metrics["absent_classes"] == ["bees"]


def test_recall_of_a_constant_prediction_is_chance() -> None:
    same = compute_metrics(np.eye(2)[[0] * 40], np.arange(40) % 2, ["ants", "bees"])
    assert same["not_above_chance"] == ["ants", "bees"]
    right = compute_metrics(np.eye(2)[np.arange(40) % 2], np.arange(40) % 2, ["ants", "bees"])
    assert right["not_above_chance"] == []


def test_a_perfect_recall_on_few_images_may_still_be_chance() -> None:
    few, more = np.array([0, 1, 1]), np.arange(40) % 2
    metrics = compute_metrics(np.eye(2)[few], few, ["ants", "bees"])
    assert metrics["per_class"][0]["recall"] == 1
    assert metrics["per_class"][0]["chance"] == pytest.approx(1 / 3)
    assert metrics["not_above_chance"] == ["ants", "bees"]
    assert compute_metrics(np.eye(2)[more], more, ["ants", "bees"])["not_above_chance"] == []


@pytest.mark.thorough
def test_a_model_that_guesses_clears_no_class_of_a_hundred() -> None:
    """Holm's correction: at least one class is cleared in at most 5 % of models that guess."""
    rng, names, repetitions = np.random.default_rng(0), [str(n) for n in range(100)], 30
    labels, cleared = np.repeat(np.arange(100), 10), 0
    for _ in range(repetitions):
        matrix = ConfusionMatrix.count(labels, rng.integers(0, 100, 1000), classes=100)
        cleared += len(confusion_matrix_metrics(matrix, names)["not_above_chance"]) < 100
    assert cleared / repetitions <= 0.05
    good = np.where(rng.random(1000) < 0.6, labels, rng.integers(0, 100, 1000))
    found = confusion_matrix_metrics(ConfusionMatrix.count(labels, good, classes=100), names)
    assert len(found["not_above_chance"]) <= 20


def test_uncalibrated_metrics_are_reported_too() -> None:
    overconfident = np.tile(np.array([[0.99, 0.01]]), (100, 1))
    calibrated = np.tile(np.array([[0.75, 0.25]]), (100, 1))
    labels = (np.arange(100) % 4 == 3).astype(np.int64)
    metrics = compute_metrics(calibrated, labels, NAMES[:2], uncalibrated=overconfident)
    assert metrics["ece"] == pytest.approx(0, abs=1e-9)
    assert metrics["ece_raw_uncalibrated"] == pytest.approx(0.24)
    assert 0.22 < metrics["ece_uncalibrated"] < 0.24
    assert metrics["log_loss"] < metrics["log_loss_uncalibrated"]


def test_many_classes_have_an_interval_of_the_roc_auc() -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(200), 800)
    metrics = compute_metrics(rows, np.arange(800) % 200, [str(n) for n in range(200)])
    low, high = metrics["roc_auc_interval"]
    assert low < 0.5 < high < low + 0.1
    assert metrics["roc_auc_rough"]  # of four images each


def test_images_of_groups_have_wider_intervals(
    predictions: tuple[np.ndarray, np.ndarray],
) -> None:
    """Six copies of ten images: each metric is that of the ten."""
    probabilities, labels = predictions[0][:10], predictions[1][:10]
    copies = (np.repeat(probabilities, 6, axis=0), np.repeat(labels, 6))
    single = compute_metrics(*copies, NAMES)
    grouped = compute_metrics(*copies, NAMES, groups=np.repeat(np.arange(10), 6))
    assert single["groups"] is None
    assert grouped["groups"]["n"] == 10 and 7 < grouped["groups"]["effective_n"] < 12
    for key in ("log_loss", "brier", "roc_auc", "average_precision"):
        assert grouped[key] == single[key]
        assert width(grouped[f"{key}_interval"]) > 1.3 * width(single[f"{key}_interval"])
    for key in ("accuracy", "balanced_accuracy"):
        assert grouped[key]["value"] == single[key]["value"]
        assert grouped[key]["low"] < single[key]["low"] - 0.05
    assert grouped["accuracy"]["rough"] and not single["accuracy"]["rough"]
    assert width(grouped["weighted"]["f1_interval"]) > 1.3 * width(
        single["weighted"]["f1_interval"]
    )
    assert grouped["ece_expected_by_chance"] > 1.3 * single["ece_expected_by_chance"]


def width(interval: list[float]) -> float:
    return interval[1] - interval[0]


def test_groups_of_one_image_change_nothing(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    alone = compute_metrics(*predictions, NAMES, groups=np.random.default_rng(0).permutation(60))
    assert alone == compute_metrics(*predictions, NAMES)
    with pytest.raises(ValueError, match="groups"):
        compute_metrics(*predictions, NAMES, groups=np.zeros(3, np.int64))


def test_an_interval_of_too_few_images_is_marked_as_rough() -> None:
    labels = np.repeat([0, 1], [200, 12])
    metrics = compute_metrics(np.eye(2)[labels] * 0.8 + 0.1, labels, NAMES[:2])
    many, few = metrics["per_class"]
    assert not any(many[f"{key}_rough"] for key in ("recall", "precision", "f1"))
    assert few["recall_rough"] and few["average_precision_rough"] and not few["roc_auc_rough"]
    assert metrics["average_precision_rough"] and not metrics["accuracy"]["rough"]
