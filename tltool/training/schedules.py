"""The learning rate over the steps of a phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Schedule:
    """Warm-up from zero, then cosine to zero, a constant, or ÷10 on a plateau.

    Attributes:
        kind: cosine (Loshchilov and Hutter 2017), constant, or plateau (He et al. 2016).
        peak: rate after the warm-up.
        steps: steps of the whole phase.
        warmup: steps of the warm-up.
        patience: epochs without improvement before a plateau divides the rate by ten.
    """

    kind: Literal["cosine", "plateau", "constant"]
    peak: float
    steps: int
    warmup: int
    patience: int = 2
    factor: float = 1.0
    stale: int = 0
    lowest: float = field(default=math.inf)

    def rate(self, step: int) -> float:
        """Return the learning rate of step ``step`` (counted from 0)."""
        if step < self.warmup:
            return self.peak * self.factor * (step + 1) / (self.warmup + 1)
        if self.kind != "cosine":
            return self.peak * self.factor
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def epoch_ended(self, loss: float) -> None:
        """Count an epoch whose validation loss was ``loss``; only a plateau schedule reacts."""
        if self.kind != "plateau":
            return
        if loss < self.lowest:
            self.lowest, self.stale = loss, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.factor, self.stale = self.factor / 10, 0

    def state(self) -> dict[str, float]:
        """Return what the epochs have changed."""
        return {"factor": self.factor, "stale": self.stale, "lowest": self.lowest}

    def resume(self, state: Mapping[str, float]) -> None:
        """Take up what ``state`` returned in an earlier process."""
        self.factor, self.lowest = state["factor"], state["lowest"]
        self.stale = int(state["stale"])
