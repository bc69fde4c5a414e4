"""How long a device waits for batches, where steps are computed while the program goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class DeviceWait:
    """Share of an epoch in which an asynchronous device, such as a GPU, has nothing to compute.

    The program that feeds a GPU waits for the next batch while the GPU still computes earlier
    ones, so its own waiting says nothing. Therefore a few steps (numbers 2, 4, 8, …) are timed
    alone: their batch is there, and the device has finished all before. The shortest of them
    times the number of steps is the work of the device; the rest of the epoch it waits. The first
    step is left out, because it also compiles.

    Attributes:
        steps: finished steps.
        shortest: seconds of the shortest step that was timed.
    """

    steps: int = 0
    shortest: float = float("inf")
    _previous: Any = None
    _began: float = field(default_factory=time.perf_counter)
    _first_wait: float = 0.0
    _timed_from: float = 0.0

    def step(self, compute: Callable[[], Any]) -> Any:
        """Return ``compute()``, a tensor; called as soon as the batch of the step is there."""
        number = self.steps + 1
        alone = number & (number - 1) == 0
        if number == 1:
            self._first_wait = time.perf_counter() - self._began
        elif alone:
            self._previous.numpy()
        started = time.perf_counter()
        self._previous = compute()
        if alone:
            self._previous.numpy()
            ended = time.perf_counter()
            if number == 1:
                self._timed_from = ended
            else:
                self.shortest = min(self.shortest, ended - started)
        self.steps = number
        return self._previous

    @property
    def share(self) -> float | None:
        """Share of the epoch, 0…1, until now; None before two steps are finished.

        To be read when the last step is finished on the device.
        """
        if self.steps < 2:
            return None
        total = self._first_wait + time.perf_counter() - self._timed_from
        return max(0.0, 1.0 - (self.steps - 1) * self.shortest / max(total, 1e-9))
