"""The one best state of a model across all phases, and early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import keras
import numpy as np

Monitor = Literal["val_loss", "val_accuracy"]


@dataclass
class EarlyStopping:
    """Counts the epochs since the monitored measure last improved."""

    monitor: Monitor
    min_delta: float = 0.0
    value: float = math.inf  # lower is better; accuracies are negated
    stale: int = 0

    def improves(self, measures: dict[str, float]) -> bool:
        """Whether ``measures`` beat the best so far; if so they are the best from now on."""
        value = measures[self.monitor] * (-1 if self.monitor == "val_accuracy" else 1)
        if not value < self.value - self.min_delta:
            return False
        self.value = value
        return True

    def stale_after(self, measures: dict[str, float], patience: int) -> bool:
        """Whether this epoch is the ``patience``-th in a row without improvement."""
        self.stale = 0 if self.improves(measures) else self.stale + 1
        return self.stale >= patience


@dataclass
class BestModel:
    """Keeps a copy of the weights at the best validation measure of all phases.

    Attributes:
        model: the whole classifier; its weights are copied.
        monitor: which measure decides.
    """

    model: keras.Model
    monitor: Monitor
    phase: str = ""
    epoch: int = 0
    measures: dict[str, float] = field(default_factory=dict)
    _stopping: EarlyStopping = field(init=False)
    _weights: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = EarlyStopping(self.monitor)

    def fresh(self, *, min_delta: float) -> EarlyStopping:
        """Return early stopping on the same measure that starts anew, for one phase."""
        return EarlyStopping(self.monitor, min_delta)

    def offer(self, measures: dict[str, float], *, phase: str, epoch: int) -> bool:
        """Keep the model's present weights if ``measures`` are the best so far."""
        if not self._stopping.improves(measures):
            return False
        self.phase, self.epoch, self.measures = phase, epoch, dict(measures)
        self._weights = [keras.ops.convert_to_numpy(variable) for variable in self.model.weights]
        return True

    def restore(self) -> None:
        """Put the best weights back into the model."""
        for variable, value in zip(self.model.weights, self._weights, strict=bool(self._weights)):
            variable.assign(value)
