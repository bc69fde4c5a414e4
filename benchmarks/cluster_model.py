"""The model of a cluster that `cluster.py` checks against its measurements before it uses it.

Pieces: list scheduling, each piece goes to the worker that is free first. Steps of training: a
fixed part, a part for each image of a worker's share, and a ring all-reduce of the gradients.
"""

import heapq
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 51


def schedule(
    seconds: Sequence[float], workers: int, *, gap: float = 0.0, start: float = 0.0
) -> float:
    """Return the time until all pieces are done.

    Args:
        seconds: of each piece, in the order in which they are handed out.
        workers: number of workers.
        gap: seconds of a worker between two pieces.
        start: seconds until a worker is ready.

    Example:
        >>> schedule([2.0, 2.0, 2.0], 2)
        4.0
    """
    free = [start] * workers
    ends = start
    for one in seconds:
        end = heapq.heappop(free) + gap + one
        heapq.heappush(free, end)
        ends = max(ends, end)
    return ends


def predicted(
    measured: Sequence[float], pieces: int, workers: int, *, gap: float, start: float = 0.0
) -> float:
    """Return the median time of ``pieces`` whose times are drawn from those ``measured``."""
    rng = np.random.default_rng(0)
    draws = 1 if pieces > 10_000 else _DRAWS  # so many even out
    times = (rng.choice(measured, pieces).tolist() for _ in range(draws))
    return statistics.median(schedule(one, workers, gap=gap, start=start) for one in times)


@dataclass(frozen=True)
class Store:
    """Where images and features are, as seen by a cluster.

    Attributes:
        worker_rate: bytes a second that one worker reads or writes.
        total_rate: bytes a second of the store.
    """

    worker_rate: float
    total_rate: float


@dataclass(frozen=True)
class Job:
    """Features of many images.

    Attributes:
        images: number of images.
        shard: images of a piece.
        bytes_in: of an image file.
        bytes_out: of the features of an image.
    """

    images: int
    shard: int
    bytes_in: float
    bytes_out: float

    def seconds(
        self, per_image: Sequence[float], workers: int, store: Store, *, gap: float, start: float
    ) -> float:
        """Return the time of the job.

        Args:
            per_image: measured seconds of an image, of each measured shard.
            workers: number of workers.
            store: the store.
            gap: seconds between two pieces of a worker.
            start: of a worker.
        """
        moved = self.bytes_in + self.bytes_out
        pieces = -(-self.images // self.shard)
        times = [self.shard * (one + moved / store.worker_rate) for one in per_image]
        computed = predicted(times, pieces, workers, gap=gap, start=start)
        return max(computed, start + self.images * moved / store.total_rate)


@dataclass(frozen=True)
class Step:
    """A training step of several ranks.

    Attributes:
        fixed: seconds whatever the batch.
        image: seconds per image.
        gradient: bytes of the gradients.
    """

    fixed: float
    image: float
    gradient: float

    def seconds(self, ranks: int, batch: int, *, latency: float, bandwidth: float) -> float:
        """Return the time of a step of ``batch`` images in all.

        Args:
            ranks: number of ranks.
            batch: images of the step.
            latency: seconds of a message.
            bandwidth: bytes a second between two ranks.
        """
        share = -(-batch // ranks)
        ring = 2 * (ranks - 1) * latency
        ring += 2 * (ranks - 1) / ranks * self.gradient / bandwidth
        return self.fixed + self.image * share + ring


def fitted_step(batches: Sequence[int], seconds: Sequence[float], gradient: float) -> Step:
    """Return the step whose fixed part and part per image fit the measured ones best."""
    image, fixed = np.polyfit(batches, seconds, 1)
    return Step(max(0.0, float(fixed)), float(image), gradient)
