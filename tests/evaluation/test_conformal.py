"""Prediction sets hold the right class as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.evaluation.calibration.conformal import (
    conformity_scores,
    draw_of,
    draw_of_bytes,
    prediction_sets,
    quantile,
)
from tltool.evaluation.metrics.intervals import wilson


def answers(rng: np.random.Generator, n: int, *, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of 6 classes and labels; with sharpness 1 they are calibrated."""
    true = rng.dirichlet(np.full(6, 0.7), n)
    labels = np.array([rng.choice(6, p=row) for row in true])
    said = true**sharpness
    return (said / said.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("level", [0.8, 0.9])
@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_coverage_is_within_its_binomial_interval(level, sharpness):
    hits = total = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        held, test = (answers(rng, n, sharpness=sharpness) for n in (200, 200))
        threshold = quantile(conformity_scores(*held, rng.random(200)), level)
        inside = prediction_sets(test[0], rng.random(200), threshold)
        hits += int(inside[np.arange(200), test[1]].sum())
        total += 200
    low, high = wilson(hits, total, 0.999)
    # the most probable class is always in, which adds to a promise that is kept already
    assert high >= level
    assert low <= level + 0.02


def test_an_overconfident_model_gets_larger_sets():
    sizes = []
    for sharpness in (1.0, 4.0):
        rng = np.random.default_rng(0)
        said, labels = answers(rng, 2000, sharpness=sharpness)
        draws = rng.random(2000)
        threshold = quantile(conformity_scores(said, labels, draws), 0.9)
        sizes.append(threshold)
    assert sizes[1] > sizes[0]


def test_a_set_is_never_empty_and_grows_with_what_it_promises():
    rng = np.random.default_rng(1)
    said, labels = answers(rng, 300, sharpness=1.0)
    draws = rng.random(300)
    scores = conformity_scores(said, labels, draws)
    few, many = (prediction_sets(said, draws, quantile(scores, level)) for level in (0.5, 0.95))
    assert few[np.arange(300), said.argmax(axis=1)].all()
    assert not (few & ~many).any()
    assert few.sum() < many.sum()


def test_few_photos_cannot_promise_much():
    assert quantile(np.linspace(0, 1, 9), 0.9) == 1.0
    with pytest.raises(UsageError, match=r"0\.95 need 19 validation images.* made with 9") as error:
        quantile(np.linspace(0, 1, 9), 0.95)
    assert "at most 0.9" in str(error.value.hint)


def test_draws_are_uniform_and_each_photo_keeps_its_own():
    draws = np.array([draw_of_bytes(bytes([n % 256, n // 256])) for n in range(2000)])
    assert draw_of_bytes(b"\0\0") == draws[0]
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.02
    assert draw_of("f" * 64) < 1
