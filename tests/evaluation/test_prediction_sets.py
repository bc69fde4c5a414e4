"""Prediction sets contain the true class with the promised probability."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.evaluation.calibration.prediction_sets import (
    conformal_quantile,
    conformity_scores,
    prediction_sets,
    uniform_draw,
    uniform_draw_of_bytes,
)
from tltool.evaluation.metrics.confidence_intervals import wilson_interval


def synthetic_predictions(
    rng: np.random.Generator, n: int, *, sharpness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 6 classes and labels; with sharpness 1 they are calibrated."""
    true = rng.dirichlet(np.full(6, 0.7), n)
    labels = np.array([rng.choice(6, p=row) for row in true])
    powers = true**sharpness
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_coverage_is_within_its_binomial_interval(level, sharpness):
    hits = total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        calibration, test = (synthetic_predictions(rng, n, sharpness=sharpness) for n in (200, 200))
        threshold = conformal_quantile(conformity_scores(*calibration, rng.random(200)), level)
        inside = prediction_sets(test[0], rng.random(200), threshold)
        hits += int(inside[np.arange(200), test[1]].sum())
        total += 200
    low, high = wilson_interval(hits, total, 0.999)
    # the most probable class is always included, which adds to the coverage
    assert high >= level
    assert low <= level + 0.02


def test_an_overconfident_model_gets_larger_sets():
    sizes = []
    for sharpness in (1.0, 4.0):
        rng = np.random.default_rng(0)
        probabilities, labels = synthetic_predictions(rng, 2000, sharpness=sharpness)
        draws = rng.random(2000)
        threshold = conformal_quantile(conformity_scores(probabilities, labels, draws), 0.9)
        sizes.append(threshold)
    assert sizes[1] > sizes[0]


def test_a_set_is_never_empty_and_grows_with_the_coverage():
    rng = np.random.default_rng(1)
    probabilities, labels = synthetic_predictions(rng, 300, sharpness=1.0)
    draws = rng.random(300)
    scores = conformity_scores(probabilities, labels, draws)
    few, many = (
        prediction_sets(probabilities, draws, conformal_quantile(scores, level))
        for level in (0.5, 0.95)
    )
    assert few[np.arange(300), probabilities.argmax(axis=1)].all()
    assert not (few & ~many).any()
    assert few.sum() < many.sum()


def test_few_images_limit_the_coverage():
    assert conformal_quantile(np.linspace(0, 1, 9), 0.9) == 1.0
    with pytest.raises(
        UsageError, match=r"coverage 0\.95 need 19 validation images; this model has 9"
    ) as error:
        conformal_quantile(np.linspace(0, 1, 9), 0.95)
    assert "at most 0.9" in str(error.value.hint)


def test_draws_are_uniform_and_fixed_for_each_image():
    draws = np.array([uniform_draw_of_bytes(bytes([n % 256, n // 256])) for n in range(2000)])
    assert uniform_draw_of_bytes(b"\0\0") == draws[0]
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.02
    assert uniform_draw("f" * 64) < 1
