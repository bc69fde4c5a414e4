"""Which photos an epoch takes, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sampler:
    """Draws the photos of an epoch, always as many as there are: a function of (seed, epoch) only.

    Attributes:
        labels: class numbers of the training photos, int64 [N]; no class is without photos.
        seed: seed of the run.
        balanced: whether each class comes equally often (to one photo) instead of each photo once.
            The photos of a class come in turn: none is drawn again before all others of its class.
    """

    labels: np.ndarray
    seed: int
    balanced: bool = False

    def draws(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what epoch ``epoch`` (from 1) draws: two int64 [N].

        The first says which photo, the second the how-manieth time since the first epoch.
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
        """Return photos and turns at ``places`` of the endless row of one class's photos."""
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
