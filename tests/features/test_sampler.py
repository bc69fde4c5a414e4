"""Which images an epoch takes: each once, or each class equally often."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tltool.features.sampler import Sampler, spread_over_classes

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=5)


def labels_of(counts: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


@given(counts=sizes, epoch=st.integers(1, 9))
def test_every_class_is_sampled_equally_often(counts: list[int], epoch: int) -> None:
    labels = labels_of(counts)
    positions, _ = Sampler(labels, seed=3, balanced=True).sample(epoch)
    assert len(positions) == len(labels)
    drawn = np.bincount(labels[positions], minlength=len(counts))
    assert drawn.max() - drawn.min() <= 1


@given(counts=sizes, epochs=st.integers(1, 9))
def test_no_image_is_drawn_again_before_all_others_of_its_class(
    counts: list[int], epochs: int
) -> None:
    labels = labels_of(counts)
    sampler = Sampler(labels, seed=0, balanced=True)
    drawn = [sampler.sample(epoch) for epoch in range(1, epochs + 1)]
    positions, passes = (np.concatenate(part) for part in zip(*drawn, strict=True))
    times = np.bincount(positions, minlength=len(labels))
    for number in range(len(counts)):
        assert np.ptp(times[labels == number]) <= 1
    for position in np.unique(positions):  # passes count the draws of an image without a gap
        assert sorted(passes[positions == position]) == list(range(times[position]))


def test_without_balance_every_image_is_drawn_once_per_epoch() -> None:
    positions, passes = Sampler(labels_of([5, 30]), seed=0).sample(4)
    assert sorted(positions) == list(range(35))
    assert set(passes) == {4}


def test_draws_are_a_function_of_seed_and_epoch() -> None:
    one, other = (Sampler(labels_of([5, 30]), seed, balanced=True) for seed in (0, 1))
    again = Sampler(labels_of([5, 30]), 0, balanced=True)
    again.sample(1)  # what was drawn before does not matter
    np.testing.assert_array_equal(one.sample(7), again.sample(7))
    assert not np.array_equal(one.sample(7)[0], one.sample(8)[0])
    assert not np.array_equal(one.sample(7)[0], other.sample(7)[0])


@given(counts=sizes, count=st.integers(1, 120))
def test_a_subset_spread_over_all_images_has_every_class(counts: list[int], count: int) -> None:
    labels = np.random.default_rng(0).permutation(labels_of(counts))
    chosen = spread_over_classes(labels, count)
    assert (np.diff(chosen) > 0).all() and len(chosen) >= min(count, len(labels))
    assert len(chosen) <= count + 10 * len(counts)
    taken = np.bincount(labels[chosen], minlength=len(counts))
    assert (taken >= np.minimum(counts, 10)).all()
