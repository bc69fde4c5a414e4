"""Equal settings are distinguished in at most 5 % of sweeps, however many seeds there are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from tltool.evaluation.metrics.seed_comparison import over_drawn_splits, over_given_images


def test_intervals_of_independent_differences_cover_the_truth() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        found = over_drawn_splits(list(rng.normal(0.3, 1.0, 5)), ratio=0.0)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.3 <= found.high
    assert binomtest(hits, 400, 0.95).pvalue > 0.01


def test_one_difference_has_no_interval() -> None:
    assert over_drawn_splits([0.2], ratio=0.25) == (0.2, None, None)
    assert over_drawn_splits([], ratio=0.25) == (None, None, None)
    assert not over_drawn_splits([0.2], ratio=0.25).excludes_zero()
    given = over_given_images(np.full((1, 9), 0.5), np.arange(9))
    assert given == (0.5, None, None)


def test_the_same_difference_with_each_of_few_seeds_may_be_one_image() -> None:
    assert over_drawn_splits([1 / 12] * 3, ratio=0.25).excludes_zero()
    assert not over_drawn_splits([1 / 12] * 3, ratio=0.25, step=1 / 12).excludes_zero()


def test_more_seeds_do_not_narrow_the_interval_of_drawn_splits_without_limit() -> None:
    few, many = (np.resize([0.1, -0.1], count) for count in (10, 1000))
    widths = [over_drawn_splits(list(each), ratio=0.25).high for each in (few, many)]
    assert widths[0] is not None and widths[1] is not None
    assert widths[1] > 0.5 * widths[0]


@pytest.mark.parametrize("seeds", [3, 10, 20])
def test_equal_settings_are_rarely_distinguished_when_the_seed_draws_the_split(
    seeds: int,
) -> None:
    """Two linear classifiers see different features, which are equally informative."""
    rng, plain, corrected, repetitions = np.random.default_rng(0), 0, 0, 200
    for _ in range(repetitions):
        differences = sweep_of_equal_settings(rng, seeds)
        plain += over_drawn_splits(differences, ratio=0.0).excludes_zero()
        corrected += over_drawn_splits(differences, ratio=0.25, step=0.05).excludes_zero()
    assert binomtest(corrected, repetitions, 0.05, "greater").pvalue > 0.05
    assert seeds == 3 or plain > 0.1 * repetitions


def sweep_of_equal_settings(rng: np.random.Generator, seeds: int, n: int = 100) -> list[float]:
    """Return the difference of accuracy for each seed; the true difference is 0."""
    labels = rng.integers(0, 2, n)
    features = rng.normal(0.4 * labels[:, None], 1, (n, 12))
    differences = []
    for _ in range(seeds):
        order = rng.permutation(n)
        train, validation = order[n // 5 :], order[: n // 5]
        accuracies = []
        for columns in (slice(0, 8), slice(4, 12)):
            means = [features[train][labels[train] == c, columns].mean(axis=0) for c in (0, 1)]
            scores = (features[validation, columns] - (means[0] + means[1]) / 2) @ (
                means[1] - means[0]
            )
            accuracies.append(float(((scores > 0) == labels[validation]).mean()))
        differences.append(accuracies[0] - accuracies[1])
    return differences


@pytest.mark.parametrize("seeds", [3, 20])
@pytest.mark.parametrize("n", [20, 153])
def test_equal_settings_are_rarely_distinguished_on_given_images(seeds: int, n: int) -> None:
    """Each setting is good at other images, and each run has luck of its own."""
    rng, by_seed, by_image, repetitions = np.random.default_rng(0), 0, 0, 200
    for _ in range(repetitions):
        settings = rng.normal(1, 1, n) + rng.normal(0, 0.7, (2, 1, n))
        margins = settings + rng.normal(0, 0.1, (2, seeds, 1)) + rng.normal(0, 0.5, (2, seeds, n))
        first, second = (margins > 0).astype(np.float64)
        by_seed += over_drawn_splits(list((first - second).mean(axis=1)), ratio=0.0).excludes_zero()
        by_image += over_given_images(first - second, np.arange(n)).excludes_zero()
    assert binomtest(by_image, repetitions, 0.05, "greater").pvalue > 0.05
    assert seeds == 3 or by_seed > 0.2 * repetitions


def test_the_images_of_one_group_count_together() -> None:
    differences = np.zeros((4, 40))
    differences[:, :20] = 0.5  # twenty images of one film
    film = np.r_[np.zeros(20, np.int64), np.arange(1, 21)]
    assert over_given_images(differences, np.arange(40)).excludes_zero()
    assert not over_given_images(differences, film).excludes_zero()
