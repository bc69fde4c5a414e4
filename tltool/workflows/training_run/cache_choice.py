"""Choose whether to train on cached activations."""

from __future__ import annotations

import keras

from tltool.models.network_parts import Network
from tltool.training.cache_costs import Workload, estimate, seconds_per_image
from tltool.workflows.resolve.augmentation import feature_spec
from tltool.workflows.training_run.context import Session


def choose_cache_mode(
    session: Session, network: Network, *, stage: str | None, train: int, held: int
) -> bool:
    """Return whether to train on cached activations, and tell the user why."""
    mode = session.recipe.train.cache.mode
    if stage == session.backbone.stages[0].name:
        return False
    if mode != "auto":
        return mode == "on"
    changed = feature_spec(session.recipe.augment).names
    if changed:
        session.observer.on_message(f"caching activations (augment.{changed[0]} changes them)")
    if stage is None or changed:
        return True
    cut, precision = network.cut(stage), session.machine.precision
    batch = 32 if session.machine.gpu else 4
    recipe = session.recipe.train
    choice = estimate(
        Workload(train, held, recipe.cache.views, recipe.head.epochs, recipe.finetune.epochs),
        trunk_seconds=seconds_per_image(
            keras.Model(network.images, cut), batch=batch, precision=precision
        ),
        tail_seconds=seconds_per_image(
            keras.Model(cut, network.pooled), batch=batch, precision=precision
        ),
        gpu=session.machine.gpu,
    )
    told = "caching activations" if choice.cached else "training on the images directly"
    session.observer.on_message(f"{told} ({choice.reason})")
    return choice.cached
