"""Which images an epoch draws, in which order, and from which cached view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.features.extract import Features

_MIN_PER_CLASS = 10  # images of a rare class in a subset, so that its mean can be estimated


@dataclass(frozen=True)
class Sampler:
    """Draws the images of an epoch, always as many as there are: a function of (seed, epoch) only.

    Attributes:
        labels: class numbers of the training images, int64 [N]; every class has images.
        seed: seed of the run.
        balanced: class-balanced sampling: each class is drawn equally often (up to one image)
            instead of each image once. No image is drawn again before all others of its class.
    """

    labels: np.ndarray
    seed: int
    balanced: bool = False

    def sample(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of epoch ``epoch`` (from 1): two int64 [N].

        The first holds positions of images, the second how often each has been drawn since the
        first epoch.
        """
        count = len(self.labels)
        order = shuffled_order(count, seed=self.seed, epoch=epoch)
        if not self.balanced:
            return order, np.full(count, epoch)
        classes = int(self.labels.max()) + 1
        places = np.arange((epoch - 1) * count, epoch * count)
        positions, passes = np.empty(count, np.int64), np.empty(count, np.int64)
        for number in range(classes):
            mine = places % classes == number
            positions[mine], passes[mine] = self._of_class(number, places[mine] // classes)
        return positions[order], passes[order]

    def _of_class(self, number: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images and passes at ``places`` of the endless sequence of one class's images."""
        members = np.flatnonzero(self.labels == number)
        passes, at = np.divmod(places, len(members))
        drawn = np.empty(len(places), np.int64)
        for number_of_pass in np.unique(passes):
            rng = np.random.default_rng((self.seed, number, int(number_of_pass), 3))
            now = passes == number_of_pass
            drawn[now] = rng.permutation(members)[at[now]]
        return drawn, passes


def shuffled_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of epoch ``epoch``, int64 [count]: a function of (seed, epoch) only."""
    return np.random.default_rng((seed, epoch, 1)).permutation(count).astype(np.int64)


def spread_over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return positions of about ``count`` images, evenly spread over all: int64 [K], ascending.

    Each class keeps at least ten images, or all: otherwise a rare class could be missing.

    Args:
        labels: class numbers, int64 [N].
        count: number of images; a few more are returned if classes are rare.
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    even = np.linspace(0, len(labels) - 1, count).astype(np.int64)
    by_class = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[by_class], return_index=True)
    rank = np.arange(len(labels)) - np.repeat(starts, np.diff([*starts, len(labels)]))
    return np.union1d(even, by_class[rank < _MIN_PER_CLASS])


def rows_of_epoch(views: Sequence[Features], sampler: Sampler, epoch: int) -> np.ndarray:
    """Return (view, row in it) of each draw, in the order of epoch ``epoch``: int64 [N, 2].

    Images start at different views; each draw of an image takes its next view.
    """
    offset = np.random.default_rng((sampler.seed, 2)).integers(0, len(views), len(sampler.labels))
    positions, passes = sampler.sample(epoch)
    chosen = (offset[positions] + passes) % len(views)
    rows = np.stack([chosen, positions], axis=1)
    for number, view in enumerate(views):
        mine = chosen == number
        rows[mine, 1] = np.argsort(view.index)[positions[mine]]
    return rows
