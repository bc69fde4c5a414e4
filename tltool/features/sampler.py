"""Which images an epoch takes, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OF_EACH_CLASS = 10  # images that are taken of a rare class, so that its mean is known


@dataclass(frozen=True)
class Sampler:
    """Draws the images of an epoch, always as many as there are: a function of (seed, epoch) only.

    Attributes:
        labels: class numbers of the training images, int64 [N]; no class is without images.
        seed: seed of the run.
        balanced: whether each class comes equally often (to one image) instead of each image once.
            The images of a class come in turn: none is drawn again before all others of its class.
    """

    labels: np.ndarray
    seed: int
    balanced: bool = False

    def draws(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what epoch ``epoch`` (from 1) draws: two int64 [N].

        The first says which image, the second the how-manieth time since the first epoch.
        """
        count = len(self.labels)
        order = shuffled_order(count, seed=self.seed, epoch=epoch)
        if not self.balanced:
            return order, np.full(count, epoch)
        classes = int(self.labels.max()) + 1
        places = np.arange((epoch - 1) * count, epoch * count)
        photos, turns = np.empty(count, np.int64), np.empty(count, np.int64)
        for number in range(classes):
            mine = places % classes == number
            photos[mine], turns[mine] = self._of_class(number, places[mine] // classes)
        return photos[order], turns[order]

    def _of_class(self, number: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images and turns at ``places`` of the endless row of one class's images."""
        members = np.flatnonzero(self.labels == number)
        turns, at = np.divmod(places, len(members))
        drawn = np.empty(len(places), np.int64)
        for turn in np.unique(turns):
            rng = np.random.default_rng((self.seed, number, int(turn), 3))
            now = turns == turn
            drawn[now] = rng.permutation(members)[at[now]]
        return drawn, turns


def shuffled_order(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of epoch ``epoch``, int64 [count]: a function of (seed, epoch) only."""
    return np.random.default_rng((seed, epoch, 1)).permutation(count).astype(np.int64)


def spread_over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return positions of about ``count`` images, evenly spread over all: int64 [K], ascending.

    Of each class at least ten are there, or all: a class that is rare among very many images would
    otherwise be missing.

    Args:
        labels: class numbers, int64 [N].
        count: images wanted; a few more are returned where classes are rare.
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    even = np.linspace(0, len(labels) - 1, count).astype(np.int64)
    by_class = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[by_class], return_index=True)
    rank = np.arange(len(labels)) - np.repeat(starts, np.diff([*starts, len(labels)]))
    return np.union1d(even, by_class[rank < _OF_EACH_CLASS])
