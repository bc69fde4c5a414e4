"""The Wilson interval against published values, the bootstrap against theory, and edge cases."""

import numpy as np
import pytest

from tltool.evaluation.metrics.confidence_intervals import (
    affordable_replicates,
    bootstrap,
    bootstrap_interval,
    effective_sample_size,
    interval_of_mean,
    rule_of_three_interval,
    wilson_interval,
)


def test_wilson_gives_the_published_values() -> None:
    # Newcombe 1998, table I: method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_an_extreme_rate_still_has_an_interval() -> None:
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)


def test_without_trials_the_interval_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = wilson_interval(7, 10, confidence=0.5), wilson_interval(7, 10, confidence=0.99)
    assert wide[0] < narrow[0] < 0.7 < narrow[1] < wide[1]


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_rejected(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no such rate"):
        wilson_interval(successes, n)


def means(values: np.ndarray, replicates: int, seed: int = 0) -> np.ndarray:
    """Return the means of bootstrap replicates."""
    replicated = bootstrap(
        lambda draws: values[draws].mean(axis=1)[:, None],
        len(values),
        replicates=replicates,
        seed=seed,
    )
    return replicated[:, 0]


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values.mean(), means(values, 1000))
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_the_replicates_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert (means(values, 300) == means(values, 300)).all()
    assert (means(values, 300) != means(values, 300, seed=1)).any()


def test_bias_is_corrected_and_the_interval_contains_the_value() -> None:
    drawn = np.random.default_rng(0).normal(0.06, 0.01, 1000)  # as for a calibration error
    low, high = bootstrap_interval(0.05, drawn)
    assert low <= 0.05 <= high < np.quantile(drawn, 0.975) - 0.015
    assert bootstrap_interval(0.05, np.full(10, np.nan)) is None


def test_equal_replicates_have_no_interval_but_for_rates() -> None:
    """Twenty images of equal loss do not imply that every image has that loss."""
    assert bootstrap_interval(0.001, np.full(1000, 0.001)) is None
    assert bootstrap_interval(1.0, np.full(1000, 1.0), n=20) == list(wilson_interval(20, 20))


def test_the_interval_of_a_mean_is_dominated_by_the_most_uncertain() -> None:
    low, high = interval_of_mean([1.0, 1.0], [(0.99, 1.0), (0.4, 1.0)])
    assert low == pytest.approx(1 - 0.6 / 2, abs=1e-3) and high == 1


def test_the_rule_of_three_stays_in_range() -> None:
    assert rule_of_three_interval(0.0, 60, least=-1.0) == [-0.05, 0.05]
    assert rule_of_three_interval(1.0, 2) == [0.0, 1.0]


def test_many_images_get_fewer_replicates_and_a_costly_metric_may_get_none() -> None:
    assert affordable_replicates(153) == 1000
    assert affordable_replicates(1_000_000) == 200
    assert affordable_replicates(1_000_000, cost=10) == 0


def grouped_rates(
    random: np.random.Generator, *, groups: int, size: int, rate: float, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return beta-binomial outcomes float [N] and their groups int [N]."""
    scale = (1 - correlation) / correlation
    rates = random.beta(rate * scale, (1 - rate) * scale, groups)
    numbers = np.repeat(np.arange(groups), size)
    return (random.random(len(numbers)) < rates[numbers]).astype(float), numbers


@pytest.mark.parametrize(
    ("groups", "size", "rate", "correlation"),
    [(12, 5, 0.8, 0.5), (12, 20, 0.95, 0.5), (30, 20, 0.9, 0.1), (30, 10, 0.6, 0.9)],
)
def test_wilson_at_the_effective_number_covers_grouped_rates(
    groups: int, size: int, rate: float, correlation: float
) -> None:
    random, covered, naive = np.random.default_rng(0), 0, 0
    for _ in range(300):
        correct, numbers = grouped_rates(
            random, groups=groups, size=size, rate=rate, correlation=correlation
        )
        for n in (len(correct), effective_sample_size(correct, numbers)):
            low, high = wilson_interval(correct.mean() * n, n)
            naive += n == len(correct) and low <= rate <= high
            covered += n < len(correct) and low <= rate <= high
    assert covered / 300 >= 0.93
    assert naive / 300 <= 0.85


def test_single_images_are_all_independent() -> None:
    correct = np.random.default_rng(0).random(40) < 0.9
    assert effective_sample_size(correct.astype(float), np.arange(40)[::-1]) == 40


def test_copies_of_one_image_are_one_image() -> None:
    outcome = (np.arange(40) % 3 == 0).astype(float)
    size = effective_sample_size(np.repeat(outcome, 5), np.repeat(np.arange(40), 5))
    assert 36 <= size <= 41


def test_without_variation_each_group_counts_once() -> None:
    assert effective_sample_size(np.ones(60), np.repeat(np.arange(12), 5)) == pytest.approx(12)
    uneven = np.repeat([0, 1], [90, 10])  # nearly all images are of one group
    assert 1 < effective_sample_size(np.ones(100), uneven) < 1.3
    assert effective_sample_size(np.ones(100), np.zeros(100, np.int64)) == 1


def test_independent_groups_cost_little() -> None:
    random = np.random.default_rng(0)
    correct = (random.random(2000) < 0.7).astype(float)
    assert effective_sample_size(correct, np.repeat(np.arange(400), 5)) > 1500


def test_values_and_groups_must_match() -> None:
    with pytest.raises(ValueError, match="do not match"):
        effective_sample_size(np.ones(3), np.zeros(2, np.int64))
