"""When caching activations pays."""

from __future__ import annotations

import time

import pytest

from tltool.training.cache_costs import ImageSeconds, Workload, estimate, seconds_per_load

WORK = Workload(train=1000, validation=200, views=2, head_epochs=10, finetune_epochs=5)


def test_a_heavy_trunk_is_cached():
    choice = estimate(WORK, ImageSeconds(0.1, 0.01), gpu=False)
    assert choice.cached
    assert "s with cached activations" in choice.reason


def test_a_trunk_that_costs_nothing_is_not():
    work = Workload(train=1000, validation=200, views=8, head_epochs=0, finetune_epochs=2)
    assert not estimate(work, ImageSeconds(0.0001, 0.1), gpu=False).cached


def test_a_single_epoch_is_not_worth_many_views():
    work = Workload(train=1000, validation=200, views=16, head_epochs=0, finetune_epochs=1)
    assert not estimate(work, ImageSeconds(0.1, 0.01), gpu=False).cached


def test_a_gpu_trains_live_when_that_is_cheap():
    assert not estimate(WORK, ImageSeconds(1e-4, 1e-4), gpu=True).cached
    assert estimate(WORK, ImageSeconds(0.1, 0.01), gpu=True).cached


@pytest.mark.parametrize("epochs", [1, 5, 50])
def test_more_epochs_never_make_caching_worse(epochs):
    fewer = Workload(1000, 200, 2, 10, epochs)
    more = Workload(1000, 200, 2, 10, epochs + 10)
    cost = ImageSeconds(0.02, 0.02)
    assert estimate(more, cost, gpu=False).cached >= estimate(fewer, cost, gpu=False).cached


def test_images_that_are_slow_to_read_or_to_augment_are_cached():
    quick = ImageSeconds(1e-3, 1e-3)
    assert not estimate(WORK, quick, gpu=True).cached
    for slow in (ImageSeconds(1e-3, 1e-3, 0.02, 0.02), ImageSeconds(1e-3, 1e-3, 1e-3, 0.02)):
        choice = estimate(WORK, slow, gpu=True)
        assert choice.cached
    assert "reading 1 ms, reading with augmentation 20 ms, network 2 ms" in choice.reason


def test_a_gpu_hides_loading_that_is_faster_than_its_network():
    network = ImageSeconds(0.05, 0.01)
    hidden = ImageSeconds(0.05, 0.01, 0.02, 0.04)
    times = [estimate(WORK, each, gpu=True).reason.split(";")[0] for each in (network, hidden)]
    assert times[0] == times[1]
    on_cpu = [estimate(WORK, each, gpu=False).reason.split(";")[0] for each in (network, hidden)]
    assert on_cpu[0] != on_cpu[1]


def test_the_pass_that_traces_is_not_timed():
    passes = []

    def batches():
        passes.append(len(passes))
        time.sleep(0.3 if len(passes) == 1 else 0.02)
        return [0]

    assert 0.002 <= seconds_per_load(batches, count=10) < 0.02
    assert len(passes) == 2
