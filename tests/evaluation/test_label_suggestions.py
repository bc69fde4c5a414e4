"""Which images to label next: balanced over classes, unlike each other, with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from tltool.evaluation.label_suggestions import (
    STRATEGIES,
    Pool,
    equal_quotas,
    k_center,
    suggest_images,
)

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Sixty images: forty probably cats, ten dogs, ten out-of-distribution."""
    first = np.concatenate([RNG.uniform(0.5, 1, 40), RNG.uniform(0, 0.5, 10), np.full(10, 0.6)])
    embeddings = RNG.normal(size=(60, 5)).astype(np.float32)
    known = np.arange(60) < 50
    return Pool(np.stack([first, 1 - first], axis=1), embeddings, known, ("cat", "dog"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_as_many_different_images_as_the_budget(pool, strategy):
    chosen = suggest_images(pool, 12, strategy=strategy, ood_share=0.25, seed=0)
    assert len({one.row for one in chosen}) == 12
    assert all(one.reason for one in chosen)
    everything = suggest_images(pool, 99, strategy=strategy, ood_share=0.25, seed=0)
    assert sorted(one.row for one in everything) == list(range(60))


def test_mixed_takes_uncertain_images_of_every_class_and_a_share_of_unknown_ones(pool):
    chosen = suggest_images(pool, 12, strategy="mixed", ood_share=0.25, seed=0)
    rows = np.array([one.row for one in chosen])
    known = rows[rows < 50]
    assert len(known) == 9 and (known < 40).sum() == 5
    cats = np.sort(np.abs(pool.probabilities[:40, 0] - 0.5))
    assert np.abs(pool.probabilities[known[known < 40], 0] - 0.5).max() <= cats[14]
    assert "out-of-distribution" in chosen[-1].reason and "or dog" in chosen[0].reason


def test_uncertain_images_have_the_smallest_margin(pool):
    chosen = [one.row for one in suggest_images(pool, 5, strategy="uncertain", ood_share=0, seed=0)]
    margins = np.abs(pool.probabilities[:, 0] - pool.probabilities[:, 1])
    assert sorted(margins[chosen]) == sorted(margins)[:5]


def test_k_center_takes_one_image_of_each_group_before_a_second():
    centers = np.eye(4, dtype=np.float32)
    embeddings = np.repeat(centers, 5, axis=0) + 0.01 * RNG.normal(size=(20, 4))
    assert {row // 5 for row in k_center(embeddings, np.arange(20), 4)} == {0, 1, 2, 3}


def test_a_small_class_gives_all_it_has():
    assert equal_quotas(np.array([1, 9, 0]), 7) == [1, 6, 0]
