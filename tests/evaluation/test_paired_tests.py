"""Paired tests of two classifiers on the same images give the textbook results."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

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


def test_the_bootstrap_agrees_with_resampling_images() -> None:
    first, second = pair(90, 8, 20, 35)
    (found,) = compare_with_first(first, [second])
    rng = np.random.default_rng(1)
    difference = second.astype(int) - first
    means = [difference[rng.integers(0, 153, 153)].mean() for _ in range(4000)]
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.008)
    assert found.low < found.difference < found.high
    assert compare_with_first(first, [second]) == [found]


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        kinds = rng.choice(4, 300, p=[0.7, 0.06, 0.12, 0.12])
        found = compare_with_first(np.isin(kinds, (0, 1)), [np.isin(kinds, (0, 2))])[0]
        hits += found.low <= 0.06 <= found.high
    assert binomtest(hits, 200, 0.95).pvalue > 0.001


def test_equal_predictions_are_not_significantly_different() -> None:
    first, _ = pair(50, 0, 0, 10)
    (found,) = compare_with_first(first, [first])
    assert (found.p_value, found.low, found.high) == (1.0, -0.05, 0.05)  # the rule of three
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
