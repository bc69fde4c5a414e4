"""What training hands on to calibration, evaluation and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tltool.training.phase_plan import Row
from tltool.training.probe import Probe


@dataclass(frozen=True)
class PretrainedFeatures:
    """Input of the head before all training: float32 [N, D] or [N, h, w, D].

    Attributes:
        train: of the training images.
        validation: of the validation images.
    """

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class TrainingOutcome:
    """The best model's features and logits, and how training went.

    Attributes:
        validation_pooled: input of the head for the validation images, float32 [V, D] or
            [V, h, w, D].
        validation_logits: float32 [V, C].
        train_pooled: computes the input of the head for training images, all or many of them, and
            returns it with their class numbers.
        pretrained: features before all training; None where nothing needed them.
        probe: the linear probe; None without one.
        probe_logits: of the probe for the validation images, float32 [V, C]; None without one.
        pretrained_pooled: computes current and original pooled features, float32 [B, D] or
            [B, h, w, D] each, of images [B, H, W, 3]; None without a probe.
        history: rows of all phases.
        best: phase and epoch of the best model.
        best_row: number of its row in ``history``; None for a state that has no row.
    """

    validation_pooled: np.ndarray
    validation_logits: np.ndarray
    train_pooled: Callable[[], tuple[np.ndarray, np.ndarray]]
    pretrained: PretrainedFeatures | None
    probe: Probe | None
    probe_logits: np.ndarray | None
    pretrained_pooled: Callable[[tf.Tensor], tuple[np.ndarray, np.ndarray]] | None
    history: Sequence[Row]
    best: tuple[str, int]
    best_row: int | None
