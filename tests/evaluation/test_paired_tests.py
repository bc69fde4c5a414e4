"""Paired tests of two classifiers on the same images give the textbook results."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from tests.conftest import unless_thorough
from tltool.evaluation.metrics.paired_intervals import (
    mean_interval,
    noninferiority_p_value,
    paired_interval,
    sign_flip_p_value,
)
from tltool.evaluation.metrics.paired_tests import compare_with_first, holm, verdict


def pair(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    counts = (both, first, second, neither)
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


def test_mcnemar_is_the_binomial_test_on_discordant_images() -> None:
    first, second = pair(100, 6, 16, 30)
    (found,) = compare_with_first(first, [second])
    assert (found.n, found.only_first, found.only_second) == (152, 6, 16)
    assert found.p_value == pytest.approx(binomtest(6, 22).pvalue)
    assert found.difference == pytest.approx(10 / 152)


def test_the_interval_is_that_of_bonett_and_price() -> None:
    first, second = pair(43, 8, 3, 26)
    (found,) = compare_with_first(first, [second])
    # (3 + 1) / 82 - (8 + 1) / 82, with a standard error of sqrt((13 / 82 - (5 / 82)²) / 82)
    centre, error = -5 / 82, ((13 / 82 - (5 / 82) ** 2) / 82) ** 0.5
    assert [found.low, found.high] == pytest.approx(
        [centre - 1.96 * error, centre + 1.96 * error], abs=1e-5
    )
    assert found.low < found.difference < found.high
    assert (found.groups, found.effective_n) == (None, 80)


@pytest.mark.parametrize("n", unless_thorough([20, 50, 120], 50))
@pytest.mark.parametrize(("lost", "gained"), [(0.0, 0.01), (0.02, 0.02), (0.05, 0.15), (0.3, 0.3)])
def test_the_interval_covers_the_true_difference(n: int, lost: float, gained: float) -> None:
    """Exact: the coverage is a sum over all outcomes, so no seed and no tolerance."""
    covered = 0.0
    for only_first in range(n + 1):
        for only_second in range(n + 1 - only_first):
            counts = only_first, only_second, n - only_first - only_second
            chance = multinomial.pmf(counts, n, [lost, gained, 1 - lost - gained])
            low, high = paired_interval(only_first, only_second, n)
            covered += chance * (low <= gained - lost <= high)
    assert covered >= 0.93


def test_equal_predictions_are_not_significantly_different() -> None:
    first, _ = pair(50, 0, 0, 10)
    (found,) = compare_with_first(first, [first])
    assert found.p_value == 1
    assert [found.low, found.high] == pytest.approx([-0.0447, 0.0447], abs=1e-4)
    assert not found.distinguishable
    assert verdict("A", "B", found).startswith(
        "no difference between B and A with n = 60: they classify the same images correctly"
    )


@pytest.mark.parametrize(("first", "second", "better"), [(2, 20, "B"), (20, 2, "A")])
def test_the_verdict_names_the_better_one(first: int, second: int, better: str) -> None:
    one, other = pair(100, first, second, 31)
    (found,) = compare_with_first(one, [other])
    sentence = verdict("A", "B", found)
    assert sentence.startswith(f"{better} is better than")
    assert "by 11.8 points (95 % interval " in sentence


def test_holm_corrects_in_steps() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.01, 0.03], made=3) == pytest.approx([0.03, 0.06])


def test_the_best_of_many_equal_ones_is_not_significantly_better() -> None:
    """The best was selected on the images that it is compared on."""
    rng, plainly, of_all = np.random.default_rng(0), 0, 0
    for _ in range(40):
        hard = rng.normal(0, 1.5, 200)
        several = [hard + rng.normal(0, 1, 200) < 1.5 for _ in range(12)]
        best, *others = sorted(several, key=lambda one: -one.mean())
        compared = compare_with_first(best, others, best_of_all=True)
        plainly += min(holm([one.p_value for one in compared])) < 0.05
        of_all += min(one.adjusted for one in compared) < 0.05
    assert of_all <= 2 < plainly  # of 40 at most 2 are promised


def test_more_comparisons_need_stronger_evidence() -> None:
    first, second = pair(100, 6, 18, 29)
    alone = compare_with_first(first, [second])[0]
    among = compare_with_first(first, [second] + [first] * 4)[0]
    assert alone.distinguishable and not among.distinguishable
    assert among.p_value == alone.p_value and among.adjusted == pytest.approx(5 * alone.p_value)


def test_with_single_images_the_exact_test_for_groups_is_that_of_mcnemar() -> None:
    differences = np.repeat([-1, 0, 1], [6, 130, 16])
    found = sign_flip_p_value(differences, np.arange(152))
    assert found == pytest.approx(binomtest(6, 22).pvalue)


def test_copies_of_one_image_are_no_evidence() -> None:
    first, second = np.ones(60, np.bool_), np.ones(60, np.bool_)
    first[:20] = False  # twenty images of one film
    film = np.r_[np.zeros(20, np.int64), np.arange(1, 41)]
    alone, grouped = (compare_with_first(first, [second], groups=g)[0] for g in (None, film))
    assert alone.distinguishable and alone.groups is None
    assert not grouped.distinguishable and grouped.p_value == 1
    assert grouped.groups == 41 and grouped.effective_n < 60
    assert grouped.high > alone.high and grouped.low < 0
    assert "n = 60 in 41 groups" in verdict("A", "B", grouped)
    only = compare_with_first(first, [second], groups=np.zeros(60, np.int64))[0]
    assert (only.low, only.high, only.p_value) == (-1, 1, 1)


@pytest.mark.parametrize(("groups", "size"), [(10, 5), (30, 10)])
@pytest.mark.parametrize("correlation", [0.3, 0.8])
def test_equal_classifiers_are_rarely_distinguished_when_images_come_in_groups(
    groups: int, size: int, correlation: float
) -> None:
    rng, repetitions = np.random.default_rng(0), 150
    group, mcnemar, rejected, covered = np.repeat(np.arange(groups), size), 0, 0, 0
    shares = np.array([0.1, 0.8, 0.1]) * (1 - correlation) / correlation
    for _ in range(repetitions):
        of_group = rng.dirichlet(shares, groups).cumsum(axis=1)[group]
        kinds = (rng.random(len(group))[:, None] > of_group).sum(axis=1)
        first, second = kinds != 2, kinds != 0
        alone, found = (compare_with_first(first, [second], groups=g)[0] for g in (None, group))
        mcnemar += alone.distinguishable
        rejected += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert mcnemar > 0.1 * repetitions  # the test for independent images names a winner too often
    assert binomtest(rejected, repetitions, 0.05, "greater").pvalue > 0.01
    assert binomtest(covered, repetitions, 0.95, "less").pvalue > 0.01


@pytest.mark.parametrize("n", [60, 75, 100, 153])
def test_a_loss_of_the_margin_is_excluded_in_at_most_the_level(n: int) -> None:
    """Exact, for every rate of gained images at a true loss of five points."""
    lost, gained = (axis.ravel() for axis in np.indices((n + 1, n + 1)))
    possible = lost + gained <= n
    lost, gained = lost[possible], gained[possible]
    excluded = np.array(
        [noninferiority_p_value(*pair, n, margin=0.05) for pair in zip(lost, gained, strict=True)]
    )
    counts = np.stack([lost, gained, n - lost - gained], axis=1)
    for rate in (0.0, 0.003, 0.02, 0.07, 0.2, 0.4):
        chances = multinomial.pmf(counts, n, [0.05 + rate, rate, 0.95 - 2 * rate])
        assert chances[excluded <= 0.025].sum() <= 0.0255


def test_no_change_excludes_a_loss_of_five_points_from_75_images_on() -> None:
    found = [noninferiority_p_value(0, 0, n, margin=0.05) for n in (60, 74, 75, 200)]
    assert found[1] > 0.025 > found[2]
    assert found == sorted(found, reverse=True)


def test_the_interval_of_a_mean_gain_counts_what_the_sample_may_lack() -> None:
    gains = np.full(50, 0.001)
    low, high = mean_interval(gains, None)
    assert low == pytest.approx(high)
    low, high = mean_interval(gains, None, possible=4.0)
    assert low < 0.001 - 0.2 and high > 0.001 + 0.2
