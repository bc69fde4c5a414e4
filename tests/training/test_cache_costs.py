"""When caching activations pays."""

from __future__ import annotations

import pytest

from tltool.training.cache_costs import Workload, estimate

WORK = Workload(train=1000, validation=200, views=2, head_epochs=10, finetune_epochs=5)


def test_a_heavy_trunk_is_cached():
    choice = estimate(WORK, trunk_seconds=0.1, tail_seconds=0.01, gpu=False)
    assert choice.cached
    assert "s with cached activations" in choice.reason


def test_a_trunk_that_costs_nothing_is_not():
    work = Workload(train=1000, validation=200, views=8, head_epochs=0, finetune_epochs=2)
    assert not estimate(work, trunk_seconds=0.0001, tail_seconds=0.1, gpu=False).cached


def test_a_single_epoch_is_not_worth_many_views():
    work = Workload(train=1000, validation=200, views=16, head_epochs=0, finetune_epochs=1)
    assert not estimate(work, trunk_seconds=0.1, tail_seconds=0.01, gpu=False).cached


def test_a_gpu_trains_live_when_that_is_cheap():
    assert not estimate(WORK, trunk_seconds=1e-4, tail_seconds=1e-4, gpu=True).cached
    assert estimate(WORK, trunk_seconds=0.1, tail_seconds=0.01, gpu=True).cached


@pytest.mark.parametrize("epochs", [1, 5, 50])
def test_more_epochs_never_make_caching_worse(epochs):
    fewer = Workload(1000, 200, 2, 10, epochs)
    more = Workload(1000, 200, 2, 10, epochs + 10)
    cost = {"trunk_seconds": 0.02, "tail_seconds": 0.02, "gpu": False}
    assert estimate(more, **cost).cached >= estimate(fewer, **cost).cached
