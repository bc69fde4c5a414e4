"""The one best state of a model across all phases, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        variables: all that any phase may change.
        monitor: which measure decides.
        phase: of the best state.
        epoch: of the best state.
        measures: of the best state.
        weights: values of ``variables`` in the best state, in their order; none before the first.
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
        """Return early stopping on the same measure that starts anew, for one phase."""
        return EarlyStopping(self.monitor, min_delta)

    def offer(self, measures: dict[str, float], *, phase: str, epoch: int) -> bool:
        """Keep the present weights if ``measures`` are the best so far."""
        if not self._stopping.improves(measures):
            return False
        weights = [keras.ops.convert_to_numpy(variable) for variable in self.variables]
        self._keep(measures, weights, phase, epoch)
        return True

    def resume(
        self, measures: dict[str, float], weights: list[np.ndarray], *, phase: str, epoch: int
    ) -> None:
        """Take up the best state of an earlier process."""
        self._stopping.improves(measures)
        self._keep(measures, weights, phase, epoch)

    def restore(self) -> None:
        """Put the best weights back into the model."""
        for variable, value in zip(self.variables, self.weights, strict=bool(self.weights)):
            variable.assign(value)

    def _keep(
        self, measures: dict[str, float], weights: list[np.ndarray], phase: str, epoch: int
    ) -> None:
        self.phase, self.epoch, self.measures, self.weights = phase, epoch, dict(measures), weights
