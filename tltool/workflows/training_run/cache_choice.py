"""Choose whether to train on cached features."""

from __future__ import annotations

from dataclasses import replace

import keras

from tltool.models.network_parts import Network
from tltool.training.cache_costs import CacheChoice, Workload, estimate, seconds_per_image
from tltool.workflows.training_run.context import RunContext


def choose_cache_mode(run: RunContext, network: Network, *, train: int, validation: int) -> bool:
    """Return whether to train on cached features, and report why.

    The choice rests on timings: it is made once, and a resumed run keeps it.

    Args:
        run: the run.
        network: before training.
        train: number of training images.
        validation: number of validation images.
    """
    if run.manifest.cached is None:
        cached = _choose(run, network, train=train, validation=validation)
        run.record(replace(run.manifest, cached=cached))
    return bool(run.manifest.cached)


def _choose(run: RunContext, network: Network, *, train: int, validation: int) -> bool:
    spec, mode = run.spec, run.recipe.train.cache.mode
    if spec.trains_whole_backbone:
        return False
    if mode != "auto":
        return mode == "on"
    changed = spec.feature_changes.names
    if changed:
        run.observer.on_message(f"caching features (augment.{changed[0]} changes them)")
    if spec.first_trained_stage is None or changed:
        return True
    choice = _estimate(run, network, spec.first_trained_stage, train, validation)
    path = "caching features" if choice.cached else "training on the images directly"
    run.observer.on_message(f"{path} ({choice.reason})")
    return choice.cached


def _estimate(
    run: RunContext, network: Network, stage: str, train: int, validation: int
) -> CacheChoice:
    cut, precision, gpu = network.cut(stage), run.machine.precision, run.machine.gpu
    batch, settings = 32 if gpu else 4, run.recipe.train
    views, epochs = settings.cache.views, (settings.head.epochs, settings.finetune.epochs)
    return estimate(
        Workload(train, validation, views, *epochs),
        trunk_seconds=seconds_per_image(
            keras.Model(network.images, cut), batch=batch, precision=precision
        ),
        tail_seconds=seconds_per_image(
            keras.Model(cut, network.pooled), batch=batch, precision=precision
        ),
        gpu=gpu,
    )
