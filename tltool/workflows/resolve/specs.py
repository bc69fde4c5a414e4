"""The one place where a recipe becomes the plain arguments of everything below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tltool.models.backbone_registry import HEAD_ONLY, WHOLE_NET, Backbone
from tltool.models.regularization_spec import Regularize
from tltool.recipe.schema import DROPOUT, Recipe

if TYPE_CHECKING:
    import numpy as np

    from tltool.data.decoding.decode import DecodeSpec
    from tltool.models.head_parts import DropoutSettings
    from tltool.training.phase_plan import PhasePlan


def decode_spec(recipe: Recipe, backbone: Backbone) -> DecodeSpec:
    """Return how images become the network's input."""
    # here, because a recipe is checked without TensorFlow
    from tltool.data.decoding.decode import DecodeSpec

    side = recipe.data.image_size or backbone.image_size
    return DecodeSpec(side, side, recipe.data.resize)


def head_kind(recipe: Recipe, backbone: Backbone) -> str:
    """Return the kind of the head; a paper's head without hidden layers is a ``gap``."""
    kind = recipe.model.head.kind or backbone.default_head
    return "gap" if kind == "original" and not backbone.head.hidden else kind


def head_dropout(recipe: Recipe, backbone: Backbone) -> float:
    """Return the fraction dropped in the head."""
    given = recipe.model.head
    if given.dropout is not None:
        return given.dropout
    original = (given.kind or backbone.default_head) == "original"
    return backbone.head.dropout if original else DROPOUT


def drops(recipe: Recipe) -> DropoutSettings:
    """Return what the head drops."""
    from tltool.models.head_parts import DropoutSettings

    return DropoutSettings(recipe.model.head.dropout_kind, recipe.model.head.attention_dropout)


def regularization(recipe: Recipe) -> Regularize:
    """Return what is done inside the backbone."""
    given = recipe.model.regularize
    block = given.drop_block
    return Regularize(
        given.stochastic_depth,
        (block.rate, block.size) if block else None,
        given.norm,
        recipe.model.norm_groups,
    )


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
    from tltool.training.learning_rate_schedule import Schedule
    from tltool.training.phase_plan import PhasePlan

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
    )


def first_trained_stage(recipe: Recipe, backbone: Backbone) -> str | None:
    """Return the first stage that the fine-tune phase trains; None when there is no such phase.

    Raises:
        UsageError: the backbone has no such stage.
    """
    wanted = recipe.train.finetune.unfreeze
    if recipe.train.finetune.epochs == 0 or wanted == HEAD_ONLY:
        return None
    if wanted == "last":
        return backbone.stages[-1].name
    if wanted == WHOLE_NET:
        return backbone.stages[0].name
    return backbone.stage(wanted).name
