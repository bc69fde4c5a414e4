"""Learning rate schedules: the rate of every step of a phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_RISE = 0.3  # rising fraction of one_cycle; this and the next two are PyTorch's defaults
_FIRST = 1 / 25
_LAST = _FIRST / 1e4


@dataclass
class Schedule:
    """A linear warm-up from zero, then the schedule ``kind``.

    Attributes:
        kind: cosine decay to zero (Loshchilov and Hutter 2017, arXiv:1608.03983); constant; step,
            which multiplies by ``decay`` at fixed intervals; plateau, which multiplies by ``decay``
            when the validation loss no longer improves (He et al. 2016, arXiv:1512.03385);
            one_cycle (Smith and Topin 2018, arXiv:1708.07120) with its own warm-up: over the first
            30 % of the steps from 1/25 of the peak, then down to 4e-6 of it, both along a cosine,
            at constant momentum.
        peak: highest learning rate.
        steps: steps of the whole phase.
        warmup: steps of the warm-up.
        patience: epochs without improvement before plateau decays.
        decay: factor of step and plateau.
        every: steps between two decays of step.
    """

    kind: Literal["cosine", "constant", "step", "plateau", "one_cycle"]
    peak: float
    steps: int
    warmup: int
    patience: int = 2
    decay: float = 0.1
    every: int = 1
    factor: float = 1.0
    stale: int = 0
    lowest: float = field(default=math.inf)

    def rate(self, step: int) -> float:
        """Return the learning rate of step ``step`` (counted from 0)."""
        if self.kind == "one_cycle":
            return self.peak * _one_cycle(step / max(1, self.steps - 1))
        if step < self.warmup:
            return self.peak * self._factor(step) * (step + 1) / (self.warmup + 1)
        if self.kind != "cosine":
            return self.peak * self._factor(step)
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * _cosine(1, 0, progress)

    def _factor(self, step: int) -> float:
        return self.decay ** (step // self.every) if self.kind == "step" else self.factor

    def epoch_ended(self, loss: float) -> None:
        """Record the validation loss of an epoch; only the plateau schedule uses it."""
        if self.kind != "plateau":
            return
        if loss < self.lowest:
            self.lowest, self.stale = loss, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.factor, self.stale = self.factor * self.decay, 0

    def state(self) -> dict[str, float]:
        """Return the state that epochs change, for a checkpoint."""
        return {"factor": self.factor, "stale": self.stale, "lowest": self.lowest}

    def resume(self, state: Mapping[str, float]) -> None:
        """Restore the ``state`` of an earlier process."""
        self.factor, self.lowest = state["factor"], state["lowest"]
        self.stale = int(state["stale"])


def _one_cycle(progress: float) -> float:
    """Return the fraction of the peak at ``progress`` (0 to 1) of the phase."""
    if progress < _RISE:
        return _cosine(_FIRST, 1, progress / _RISE)
    return _cosine(1, _LAST, (progress - _RISE) / (1 - _RISE))


def _cosine(start: float, end: float, progress: float) -> float:
    """Return the value at ``progress`` (0 to 1) of half a cosine from ``start`` to ``end``."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
