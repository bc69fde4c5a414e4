"""The end of training by the clock, or where the clock ended an earlier run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class TimeBudget:
    """Ends training at a time, or after a given epoch; by default never.

    Attributes:
        ends: when training must be over, in seconds as ``time.perf_counter`` returns them.
        until: phase and number of its epochs after which training ends, as a run that is
            reproduced was ended; then the clock is not read.
    """

    ends: float = math.inf
    until: tuple[str, int] | None = None

    def is_over(self, phase: str, epochs: int, *, needed: float = 0.0) -> bool:
        """Whether training ends now.

        Args:
            phase: head or finetune.
            epochs: finished epochs of the phase.
            needed: seconds that the next piece of work takes.
        """
        if self.until is not None:
            return self.until == (phase, epochs)
        return time.perf_counter() + needed > self.ends

    @property
    def by_clock(self) -> bool:
        """Whether the clock decides when training ends."""
        return self.until is None and self.ends < math.inf

    def left(self) -> float:
        """Return the seconds until training must be over."""
        return self.ends - time.perf_counter()


NO_LIMIT = TimeBudget()
