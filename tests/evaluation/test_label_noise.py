"""The number of label issues that chance gives: simulated with known probabilities and labels."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import unless_thorough
from tltool.evaluation.label_errors import confident_learning
from tltool.evaluation.label_noise import issues_by_chance, true_class_probabilities

CLASSES = 4


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def simulated(
    n: int, spread: float, rng: np.random.Generator, *, temperature: float = 1.0, wrong: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of a model, and labels that are drawn from the true ones.

    Args:
        n: images.
        spread: of the logits; classes are hard to separate with a small one.
        rng: draws.
        temperature: of the model's probabilities; above 1 it is underconfident.
        wrong: share of the labels that are changed to another class.
    """
    logits = rng.normal(0, spread, (n, CLASSES))
    labels = (rng.random(n)[:, None] > softmax(logits).cumsum(axis=1)[:, :-1]).sum(axis=1)
    changed = rng.permutation(n)[: round(wrong * n)]
    labels[changed] = (labels[changed] + rng.integers(1, CLASSES, len(changed))) % CLASSES
    return softmax(logits / temperature), labels


def share_above_chance(repetitions: int, n: int, spread: float, **how: float) -> float:
    found = 0
    for seed in range(repetitions):
        probabilities, labels = simulated(n, spread, np.random.default_rng(seed), **how)
        issues = len(confident_learning(probabilities, labels).issues)
        found += issues > issues_by_chance(probabilities, labels, seed=seed).high
    return found / repetitions


@pytest.mark.parametrize("temperature", unless_thorough([0.5, 1.0, 2.0], 2.0))
@pytest.mark.parametrize(("n", "spread"), [(40, 3.0), (200, 1.5)])
def test_right_labels_are_rarely_above_chance(n: int, spread: float, temperature: float) -> None:
    share = share_above_chance(100, n, spread, temperature=temperature)
    assert share <= 0.05 + 2 * (0.05 * 0.95 / 100) ** 0.5


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_wrong_labels_are_above_chance_where_classes_are_separable(temperature: float) -> None:
    assert share_above_chance(30, 300, 8.0, temperature=temperature, wrong=0.05) > 0.9


def test_the_mean_is_the_number_of_issues_of_right_labels() -> None:
    issues, expected = [], []
    for seed in range(60):
        probabilities, labels = simulated(300, 1.5, np.random.default_rng(seed), temperature=2.0)
        issues.append(len(confident_learning(probabilities, labels).issues))
        expected.append(issues_by_chance(probabilities, labels).mean)
    assert np.mean(issues) > 20  # images that cannot be separated, and all labels are right
    assert np.mean(expected) == pytest.approx(np.mean(issues), rel=0.1)


def test_probabilities_are_calibrated_as_if_no_label_were_wrong() -> None:
    rng = np.random.default_rng(0)
    probabilities, labels = simulated(3000, 6.0, rng, temperature=2.0, wrong=0.1)
    right = true_class_probabilities(probabilities, labels)
    # squared probabilities are those at half the temperature, which is the truth
    truth = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    assert np.abs(right - truth).mean() < 0.02


def test_the_same_seed_gives_the_same_figures() -> None:
    probabilities, labels = simulated(100, 2.0, np.random.default_rng(3))
    first = issues_by_chance(probabilities, labels, seed=1)
    assert first == issues_by_chance(probabilities, labels, seed=1)
    assert 0 < first.mean <= first.high
