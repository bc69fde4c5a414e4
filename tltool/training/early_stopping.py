"""Early stopping, and the best weights of all phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np

from tltool.recipe.train_section import Monitor


@dataclass
class EarlyStopping:
    """Counts the epochs since the monitored metric last improved."""

    monitor: Monitor
    min_delta: float = 0.0
    value: float = math.inf  # lower is better; accuracies are negated
    stale: int = 0

    def improves(self, measures: dict[str, float]) -> bool:
        """Whether ``measures`` are better than the best so far, which they then replace."""
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
    """Keeps a copy of the weights with the best validation metric of all phases.

    Attributes:
        variables: all variables that any phase may train.
        monitor: the metric that decides.
        phase: phase of the best epoch.
        epoch: the best epoch.
        measures: validation metrics of the best epoch.
        weights: values of ``variables`` after it, in their order; empty before the first epoch.
    """

    variables: Sequence[keras.Variable]
    monitor: Monitor
    phase: str = ""
    epoch: int = 0
    measures: dict[str, float] = field(default_factory=dict)
    weights: list[np.ndarray] = field(default_factory=list)
    _stopping: EarlyStopping = field(init=False)

    def __post_init__(self) -> None:
        self._stopping = EarlyStopping(self.monitor)

    def fresh(self, *, min_delta: float) -> EarlyStopping:
        """Return new early stopping on the same metric, for one phase."""
        return EarlyStopping(self.monitor, min_delta)

    def offer(self, measures: dict[str, float], *, phase: str, epoch: int) -> bool:
        """Keep a copy of the current weights if ``measures`` are the best so far."""
        if not self._stopping.improves(measures):
            return False
        weights = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        self._keep(measures, weights, phase, epoch)
        return True

    def resume(
        self, measures: dict[str, float], weights: list[np.ndarray], *, phase: str, epoch: int
    ) -> None:
        """Restore the best weights of an earlier process."""
        self._stopping.improves(measures)
        self._keep(measures, weights, phase, epoch)

    def restore(self) -> None:
        """Assign the best weights to the model."""
        for variable, value in zip(self.variables, self.weights, strict=bool(self.weights)):
            variable.assign(value)

    def _keep(
        self, measures: dict[str, float], weights: list[np.ndarray], phase: str, epoch: int
    ) -> None:
        self.phase, self.epoch, self.measures, self.weights = phase, epoch, dict(measures), weights


class LastModel(BestModel):
    """Keeps the weights of the last epoch, in a phase that has no validation images."""

    def offer(self, measures: dict[str, float], *, phase: str, epoch: int) -> bool:
        """Keep a copy of the current weights."""
        weights = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        self._keep(measures, weights, phase, epoch)
        return True
