"""A training phase as data: its settings, its batches, and its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tltool.augment.spec import AugmentSpec, FeatureSpec
from tltool.recipe.train_section import OptimizerName
from tltool.training.keras_losses import RowLoss
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.optimizers import Group

# inputs [B, ...] and labels float32 [B, C], numpy arrays or tensors; where several workers train,
# those of the own rows, and the size of the whole batch
Batch = tuple[Any, Any] | tuple[Any, Any, int]
Row = dict[str, float | int | str]


@dataclass(frozen=True)
class PhasePlan:
    """Settings of one phase.

    Attributes:
        name: head or finetune.
        epochs: maximum number of epochs.
        steps: steps of one epoch.
        schedule: learning rate schedule.
        optimizer: its name, or an optimizer whose settings are copied.
        weight_decay: decoupled weight decay, with a name.
        smoothing: label smoothing.
        class_weights: float32 [C]; None if all are equal.
        focal_gamma: focusing parameter of the focal loss, 0 for cross-entropy.
        ema: momentum of the moving average of the weights, 0 for none.
        patience: epochs without improvement before the phase ends; the count is reset when a group
            is unfrozen, and the phase does not end before the last one is.
        min_delta: smallest improvement that counts.
        seed: seed of dropout.
        l2: factor of the L2 penalty, the sum of squares of all kernels.
        clip_norm: maximum global norm of the gradient; None for no clipping.
        max_norm: maximum norm of the weights into one unit of a kernel; None for no constraint.
        unfreeze_every: epochs before the next group of variables is unfrozen; 0 trains all from
            the first epoch.
        micro_batch: most images that are processed at once; the gradients of a larger batch are
            accumulated over parts. None to process each batch as a whole.
        jit_compile: whether XLA compiles the training step.
        momentum: of the optimizer sgd.
        nesterov: whether it is Nesterov's.
        loss: instead of cross-entropy and focal loss.
    """

    name: str
    epochs: int
    steps: int
    schedule: Schedule
    optimizer: OptimizerName | keras.optimizers.Optimizer
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
    micro_batch: int | None = None
    jit_compile: bool = False
    momentum: float = 0.9
    nesterov: bool = False
    loss: RowLoss | None = None


@dataclass(frozen=True)
class AugmentationSchedule:
    """Augmentation of a phase.

    Attributes:
        images: augmentation of training images; cached views are augmented already.
        features: augmentation of cached features.
        mixed_epochs: number of epochs with mixup and cutmix; later epochs are without.
    """

    images: AugmentSpec
    features: FeatureSpec
    mixed_epochs: int


@dataclass
class PhaseData:
    """Training batches and validation of a phase.

    Attributes:
        batches: returns the batches of an epoch, by its number (from 1).
        validate: returns val_loss and val_accuracy on the validation set; nothing in a refit,
            which has none.
    """

    batches: Callable[[int], Iterable[Batch]]
    validate: Callable[[], dict[str, float]]


@dataclass(frozen=True)
class PhaseState:
    """State of a phase after an epoch.

    Attributes:
        epoch: the last finished epoch.
        finished: whether the phase is finished.
        numbers: state of schedule and early stopping, JSON-ready.
        arrays: all variables that training steps update, by name.
    """

    epoch: int
    finished: bool
    numbers: dict[str, Any]
    arrays: dict[str, np.ndarray]


def describe_phase(plan: PhasePlan, groups: Sequence[Group]) -> str:
    """Return trained parameters, maximum number of epochs and accumulation as a sentence."""
    count = sum(int(np.prod(v.shape)) for group in groups for v in group.variables)
    gradual = plan.unfreeze_every and len(groups) > 1
    unfreezing = f", a stage is unfrozen every {plan.unfreeze_every}" if gradual else ""
    epochs = f"{plan.epochs} epoch{'s' * (plan.epochs != 1)}"
    parts = f", {plan.micro_batch} images at a time" if plan.micro_batch else ""
    return f"{count:,} parameters, up to {epochs}{unfreezing}{parts}"
