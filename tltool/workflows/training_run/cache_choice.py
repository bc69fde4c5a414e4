"""Choose whether to train on cached features."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import keras

from tltool.models.network_parts import Network
from tltool.training.agreement import has_peers
from tltool.training.cache_costs import (
    CacheChoice,
    ImageSeconds,
    Workload,
    estimate,
    seconds_per_image,
    seconds_per_load,
)
from tltool.workflows.training_run.choose_augmentation import planned_augmentation
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.training_inputs import TrainingImages

_LOADED = 64  # images that are read to measure the speed; about a second


def choose_cache_mode(run: RunContext, network: Network, images: TrainingImages) -> bool:
    """Return whether to train on cached features, and report why.

    The choice rests on timings: it is made once, and a resumed run keeps it.

    Args:
        run: the run.
        network: before training.
        images: training and validation images.
    """
    if run.manifest.cached is None:
        cached = _choose(run, network, images)
        run.record(replace(run.manifest, cached=cached))
    return bool(run.manifest.cached)


def _choose(run: RunContext, network: Network, images: TrainingImages) -> bool:
    spec, mode = run.spec, run.recipe.train.cache.mode
    if spec.trains_whole_backbone or has_peers(run.machine.strategy):
        return False
    if mode != "auto":
        return mode == "on"
    changed = spec.feature_changes.names
    if changed:
        run.observer.on_message(f"caching features (augment.{changed[0]} changes them)")
    if spec.first_trained_stage is None or changed:
        return True
    choice = _estimate(run, network, spec.first_trained_stage, images)
    path = "caching features" if choice.cached else "training on the images directly"
    run.observer.on_message(f"{path} ({choice.reason})")
    return choice.cached


def _estimate(run: RunContext, network: Network, stage: str, images: TrainingImages) -> CacheChoice:
    cut, precision, gpu = network.cut(stage), run.machine.precision, run.machine.gpu
    batch, settings = 32 if gpu else 4, run.recipe.train
    views, epochs = settings.cache.views, (settings.head.epochs, settings.finetune.epochs)
    network_only = ImageSeconds(
        trunk=seconds_per_image(keras.Model(network.images, cut), batch=batch, precision=precision),
        tail=seconds_per_image(keras.Model(cut, network.pooled), batch=batch, precision=precision),
    )
    work = Workload(len(images.train), len(images.validation), views, *epochs)
    choice = estimate(work, network_only, gpu=gpu)
    if choice.cached and work.head_epochs >= 2 * views:
        return choice  # loading, which the cache does less often, can only confirm it
    decode, augment = _loading(run, images)
    return estimate(work, replace(network_only, decode=decode, augment=augment), gpu=gpu)


def _loading(run: RunContext, images: TrainingImages) -> tuple[float, float]:
    """Return the seconds per image of decoding, and of decoding and augmentation."""
    some = images.train.spread(_LOADED)
    spec = planned_augmentation(run, images.train.items)
    decode = seconds_per_load(some.original, count=len(some))
    if spec.identity:
        return decode, decode
    augmented = partial(some.augmented, spec, seed=run.recipe.seed, epoch=0)
    return decode, seconds_per_load(augmented, count=len(some))
