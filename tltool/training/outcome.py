"""What training hands on to calibration and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainingOutcome:
    """What the best model makes of the images.

    Attributes:
        held_pooled: input of the head for the validation images, float32 [V, D] or [V, h, w, D].
        held_logits: float32 [V, C].
        train_pooled: computes the input of the head for training images, all or many of them, and
            returns it with their class numbers.
    """

    held_pooled: np.ndarray
    held_logits: np.ndarray
    train_pooled: Callable[[], tuple[np.ndarray, np.ndarray]]
