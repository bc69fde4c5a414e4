"""What a phase does, what it feeds on, and how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tltool.augment.spec import AugmentSpec, FeatureSpec
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.optimizers import Group

Batch = tuple[Any, Any]  # inputs [B, ...] and labels float32 [B, C]; numpy arrays or tensors
Row = dict[str, float | int | str]


@dataclass(frozen=True)
class PhasePlan:
    """What one phase does.

    Attributes:
        name: head or finetune.
        epochs: most epochs.
        steps: steps of one epoch.
        schedule: learning rates.
        optimizer: adamw or sgd.
        weight_decay: decoupled weight decay.
        smoothing: label smoothing.
        class_weights: float32 [C]; None where every label counts the same.
        focal_gamma: exponent of the focal loss, 0 for plain cross-entropy.
        ema: momentum of the moving average of the weights, 0 for none.
        patience: epochs without improvement of this phase before it ends; counted anew when a
            group of variables joins, and the phase does not end before the last has.
        min_delta: smallest improvement that counts.
        seed: seed of dropout.
        l2: the sum of squares of all kernels, times this, is added to the loss.
        clip_norm: longest gradient over all variables together; None for any.
        max_norm: longest vector of weights into one unit of any kernel; None for any.
        unfreeze_every: epochs before the next group of variables joins; 0 trains all from the
            first.
    """

    name: str
    epochs: int
    steps: int
    schedule: Schedule
    optimizer: Literal["adamw", "sgd"]
    weight_decay: float
    smoothing: float
    class_weights: np.ndarray | None
    focal_gamma: float
    ema: float
    patience: int
    min_delta: float
    seed: int
    l2: float = 0.0
    clip_norm: float | None = None
    max_norm: float | None = None
    unfreeze_every: int = 0


@dataclass(frozen=True)
class AugmentationSchedule:
    """What is changed at random in a phase.

    Attributes:
        images: changes of training images; cached views have them already.
        features: changes of cached features.
        mixed_epochs: epochs with mixup and cutmix; later ones are without.
    """

    photos: AugmentSpec
    features: FeatureSpec
    mixed_epochs: int


@dataclass
class PhaseData:
    """Where a phase's images come from.

    Attributes:
        batches: batches of one epoch, by epoch number (from 1).
        validate: measures of the network on the validation part: val_loss and val_accuracy.
    """

    batches: Callable[[int], Iterable[Batch]]
    validate: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class PhaseState:
    """How far a phase has come, after an epoch.

    Attributes:
        epoch: the last finished epoch.
        finished: whether the phase is over.
        numbers: state of schedule and early stopping, JSON-ready.
        arrays: everything that the steps change, by name.
    """

    epoch: int
    finished: bool
    numbers: dict[str, Any]
    arrays: dict[str, np.ndarray]


def describe_phase(plan: PhasePlan, groups: Sequence[Group]) -> str:
    """Return how much is trained, and how long at most."""
    count = sum(int(np.prod(v.shape)) for group in groups for v in group.variables)
    thawing = plan.unfreeze_every and len(groups) > 1
    joining = f", a stage joins every {plan.unfreeze_every}" if thawing else ""
    return f"{count:,} parameters, up to {plan.epochs} epoch{'s' * (plan.epochs != 1)}{joining}"
