"""The plan of a training phase, from the recipe and what a Python program gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from tltool.recipe.schema import Recipe
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.phase_plan import PhasePlan
from tltool.workflows.training_run.class_balance import ClassBalance
from tltool.workflows.training_run.features import TrainingFeatures


def phase_plan(
    recipe: Recipe,
    name: str,
    *,
    epochs: int,
    learning_rate: float,
    steps: int,
    class_weights: np.ndarray | None,
) -> PhasePlan:
    """Return what one phase does.

    Args:
        recipe: what the run does.
        name: head or finetune.
        epochs: most epochs.
        learning_rate: the highest.
        steps: steps of one epoch.
        class_weights: float32 [C], or None.
    """
    train = recipe.train
    return PhasePlan(
        name=name,
        epochs=epochs,
        steps=steps,
        schedule=Schedule(
            kind=train.schedule,
            peak=learning_rate,
            steps=steps * epochs,
            warmup=round(steps * train.warmup_epochs),
            patience=train.plateau_patience,
            decay=train.decay_factor,
            every=steps * train.step_epochs,
        ),
        optimizer=train.optimizer,
        momentum=train.momentum,
        nesterov=train.nesterov,
        weight_decay=train.weight_decay,
        smoothing=train.label_smoothing,
        class_weights=class_weights,
        focal_gamma=train.focal_gamma * (train.imbalance == "focal"),
        ema=train.ema,
        patience=train.early_stopping.patience,
        min_delta=train.early_stopping.min_delta,
        seed=recipe.seed,
        l2=train.l2,
        clip_norm=train.clip_norm,
        max_norm=train.max_norm,
        unfreeze_every=train.finetune.unfreeze_every,
        jit_compile=train.jit_compile,
        micro_batch=-(-train.batch_size // train.accumulate) if train.accumulate > 1 else None,
    )


def plan_phase(
    recipe: Recipe,
    name: Literal["head", "finetune"],
    features: TrainingFeatures,
    balance: ClassBalance,
) -> PhasePlan:
    """Return what a phase of a run does, with the optimizer and the loss of a program."""
    train = features.images.train
    settings = recipe.train.head if name == "head" else recipe.train.finetune
    objects = features.run.objects
    plan = phase_plan(
        recipe,
        name,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        steps=-(-len(train) // train.batch_size),
        class_weights=balance.class_weights,
    )
    optimizer = objects.own_optimizer or plan.optimizer
    return replace(plan, optimizer=optimizer, loss=objects.row_loss)
