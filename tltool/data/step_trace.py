"""Measures how long a loop over batches waits for its input."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Batch = TypeVar("Batch")


@dataclass
class StepTrace:
    """Seconds of every step of a loop over ``over(batches)``.

    Attributes:
        waits: before each batch; the last one is for the end of the data.
        works: from each batch until the next one is requested.
    """

    waits: list[float] = field(default_factory=list)
    works: list[float] = field(default_factory=list)

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield ``batches`` unchanged and record the times."""
        started = time.perf_counter()
        for batch in batches:
            got = time.perf_counter()
            self.waits.append(got - started)
            yield batch
            started = time.perf_counter()
            self.works.append(started - got)
        self.waits.append(time.perf_counter() - started)

    @property
    def share(self) -> float:
        """Share of the loop's time, 0…1, spent waiting for a batch."""
        waited = sum(self.waits)
        return waited / max(waited + sum(self.works), 1e-9)
