"""Learning curves: nested training sets, intervals, and the extrapolation."""

import numpy as np
import pytest

from tltool.evaluation.learning_curve import learning_curve
from tltool.evaluation.plots.learning_curve_plot import plot_learning_curve
from tltool.evaluation.report.learning_curve_text import describe_gain, learning_curve_chart
from tltool.training.softmax_regression import solve_softmax


def logistic(features, labels, groups):
    kernel, bias = solve_softmax(
        features, labels, classes=int(labels.max()) + 1, strength=0.1, weights=None
    )
    return lambda rows: rows @ kernel + bias


def clusters(n, classes=3, dimensions=20, spread=2.5, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, dimensions))
    return centres[labels] + spread * random.normal(size=(n, dimensions)), labels


def by_power_law(floor, scale, exponent, seed):
    """A classifier of two classes with the error rate floor + scale * m ** -exponent."""
    random = np.random.default_rng(seed)

    def fit(features, labels, groups):
        rate = floor + scale * len(labels) ** -exponent

        def logits(rows):
            wrong = random.random(len(rows)) < rate
            named = np.where(wrong, 1 - rows[:, 0], rows[:, 0]).astype(int)
            return np.eye(2)[named]

        return logits

    return fit


def test_accuracy_rises_with_the_training_images() -> None:
    features, labels = clusters(300)
    curve = learning_curve(features, labels, np.arange(300), logistic, seed=0)
    assert [point.images for point in curve.points] == [24, 48, 120, 240]
    accuracies = [point.accuracy for point in curve.points]
    assert accuracies[0] < accuracies[1] < accuracies[3]
    assert all(p.low < p.accuracy < p.high for p in curve.points)
    value, low, high = curve.gain
    assert 0 <= low <= value <= high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("floor", "exponent"),
    [(0.2, 0.5), *(pytest.param(*law, marks=pytest.mark.thorough) for law in ((0, 0.2), (0.2, 1)))],
)
def test_the_interval_of_the_gain_holds_the_truth_of_a_power_law(floor, exponent) -> None:
    n, scale, held = 200, 0.4 * 16**exponent, 0
    labels = np.arange(n) % 2
    features = labels[:, np.newaxis].astype(float)
    truth = scale * n**-exponent * (1 - 2**-exponent)
    for seed in range(50):
        fit = by_power_law(floor, scale, exponent, seed)
        _, low, high = learning_curve(features, labels, np.arange(n), fit, seed=seed).gain
        held += low <= truth <= high
    assert held >= 42  # of 50; with a coverage of 0.95 fewer occur in 0.03 % of runs


def test_groups_are_in_one_fold_and_wholly_in_a_training_set() -> None:
    features, labels = clusters(120)
    groups = np.arange(120) // 6  # each with images of all classes
    seen = []

    def fit(some, names, groups):
        seen.append(some[:, 0].tolist())
        return logistic(some, names, groups)

    learning_curve(features, labels, groups, fit, seed=0)
    number = dict(zip(features[:, 0].tolist(), groups.tolist(), strict=True))
    for training in seen:
        counts = np.bincount([number[value] for value in training], minlength=20)
        assert set(counts.tolist()) <= {0, 6}


def test_images_of_few_groups_have_wider_intervals() -> None:
    labels = np.arange(400) % 2
    groups = np.arange(400) // 2 % 40
    features = np.where(groups % 10 == 0, 1 - labels, labels)[:, np.newaxis].astype(float)
    named = lambda some, names, groups: lambda rows: np.eye(2)[rows[:, 0].astype(int)]  # noqa: E731
    grouped, single = (
        learning_curve(features, labels, g, named, seed=0).points[-1]
        for g in (groups, np.arange(400))
    )
    assert grouped.accuracy == single.accuracy == 0.9
    assert grouped.high - grouped.low > 2 * (single.high - single.low)


def test_shares_that_are_too_small_are_skipped_and_classes_without_images_refused() -> None:
    features, labels = clusters(24)
    curve = learning_curve(features, labels, np.arange(24), logistic, seed=0)
    assert [point.images for point in curve.points] == [6, 9, 18]
    few = np.where(np.arange(24) < 3, 1, 0)
    assert learning_curve(features, few, np.arange(24), logistic, seed=0) is None
    assert learning_curve(features, 0 * labels, np.arange(24), logistic, seed=0) is None


@pytest.mark.parametrize(
    ("n", "spread"), [(200, 0.01), (90, 2.5)], ids=["without errors", "few images"]
)
def test_nothing_is_predicted_from_too_few_images_or_errors(n, spread, tmp_path) -> None:
    features, labels = clusters(n, spread=spread)
    curve = learning_curve(features, labels, np.arange(n), logistic, seed=0)
    assert curve.gain is None and curve.power_law is None
    document = curve.to_json()
    least = round(100 * (1 - curve.points[-1].low))
    assert "cannot be predicted: that needs two points, 100 images" in describe_gain(document)
    assert f"The error rate is at most {least} %" in describe_gain(document)
    assert "training images" in learning_curve_chart(document)
    plot_learning_curve(tmp_path / "curve.png", curve)
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_gain_is_a_sentence_and_a_small_one_is_said_to_be_small() -> None:
    features, labels = clusters(300)
    document = learning_curve(features, labels, np.arange(300), logistic, seed=0).to_json()
    gain = {"value": 0.021, "low": 0.004, "high": 0.035}
    text = describe_gain({**document, "gain_with_twice_the_images": gain})
    assert text.startswith("Twice the images (600 instead of 300 images) would bring about 2.1 poi")
    assert "(95 % interval 0.4 to 3.5)" in text
    small = {"value": 0.001, "low": 0.0, "high": 0.003}
    assert "hardly help" in describe_gain({**document, "gain_with_twice_the_images": small})
