"""Wilson's interval against published figures, the bootstrap against theory, and their edges."""

import numpy as np
import pytest

from tltool.evaluation.metrics.intervals import (
    bootstrap,
    bootstrap_interval,
    interval_of_mean,
    replicates_for,
    rule_of_three,
    wilson,
)


def test_wilson_gives_the_published_figures() -> None:
    # Newcombe 1998, table I: method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_an_extreme_rate_still_has_an_interval() -> None:
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)


def test_without_trials_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = wilson(7, 10, confidence=0.5), wilson(7, 10, confidence=0.99)
    assert wide[0] < narrow[0] < 0.7 < narrow[1] < wide[1]


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no such rate"):
        wilson(successes, n)


def means(values: np.ndarray, replicates: int, seed: int = 0) -> np.ndarray:
    """Return the mean of images drawn with replacement, again and again."""
    found = bootstrap(
        lambda draws: values[draws].mean(axis=1)[:, None],
        len(values),
        replicates=replicates,
        seed=seed,
    )
    return found[:, 0]


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap_interval(values.mean(), means(values, 1000))
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_the_same_seed_gives_the_same_replicates_and_another_one_others() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert (means(values, 300) == means(values, 300)).all()
    assert (means(values, 300) != means(values, 300, seed=1)).any()


def test_an_interval_of_biased_replicates_is_moved_back_and_holds_the_value() -> None:
    drawn = np.random.default_rng(0).normal(0.06, 0.01, 1000)  # as for a calibration error
    low, high = bootstrap_interval(0.05, drawn)
    assert low <= 0.05 <= high < np.quantile(drawn, 0.975) - 0.015
    assert bootstrap_interval(0.05, np.full(10, np.nan)) is None


def test_equal_replicates_are_no_certainty() -> None:
    """Twenty images of the same loss do not say that every image has it."""
    assert bootstrap_interval(0.001, np.full(1000, 0.001)) is None
    assert bootstrap_interval(1.0, np.full(1000, 1.0), n=20) == list(wilson(20, 20))


def test_the_interval_of_a_mean_is_decided_by_what_is_known_worst() -> None:
    low, high = interval_of_mean([1.0, 1.0], [(0.99, 1.0), (0.4, 1.0)])
    assert low == pytest.approx(1 - 0.6 / 2, abs=1e-3) and high == 1


def test_the_rule_of_three_stays_inside_what_is_possible() -> None:
    assert rule_of_three(0.0, 60, least=-1.0) == [-0.05, 0.05]
    assert rule_of_three(1.0, 2) == [0.0, 1.0]


def test_many_photos_get_fewer_replicates_and_a_costly_figure_may_get_none() -> None:
    assert replicates_for(153) == 1000
    assert replicates_for(1_000_000) == 200
    assert replicates_for(1_000_000, cost=10) == 0
