"""Moves groups of images between splits until no move brings the classes nearer to their shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.data.splits.split_groups import SplitGroup

_MOST_MOVES = 1000  # a limit of the time; usually a few moves per class suffice
_MOST_ROUNDS = 5
_LEAST_GAIN = 1e-9  # smaller ones are rounding errors

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def rebalance(
    groups: Sequence[SplitGroup], order: Sequence[int], parts: list[int], shares: Sequence[float]
) -> None:
    """Move groups of the classes that are more than one image away from their share in a part.

    Each move is the one that reduces the sum of squared deviations most, each divided by the
    expected count (Pearson's chi-squared statistic of the classes and parts). No move takes the
    last image of a class from a part.

    Args:
        groups: all groups.
        order: their indices by position, which decides between equal moves.
        parts: the part of each group; changed in place.
        shares: of the parts.
    """
    names = sorted({label for group in groups for label in group.labels})
    number = {name: position for position, name in enumerate(names)}
    counts = np.zeros((len(shares), len(names)))
    for index, group in enumerate(groups):
        for label, count in group.labels.items():
            counts[parts[index], number[label]] += count
    expected = np.outer(shares, counts.sum(axis=0))
    joined = {label for group in groups if len(group.members) > 1 for label in group.labels}
    for _ in range(_MOST_ROUNDS):  # a move can bring another class away from its shares
        away = np.abs(counts - expected).max(axis=0) > 1
        off = {name for name in joined if away[number[name]]}
        movable = [index for index in order if not off.isdisjoint(groups[index].labels)]
        before = np.array([parts[index] for index in movable], np.int64)
        after = _best_moves([groups[index] for index in movable], number, before, counts, expected)
        for index, part in zip(movable, after.tolist(), strict=True):
            parts[index] = part
        if np.array_equal(before, after):
            break


def _best_moves(
    groups: Sequence[SplitGroup],
    number: Mapping[str, int],
    parts: Integers,
    counts: Floats,
    expected: Floats,
) -> Integers:
    """Return the part of each group after the best moves, int [G].

    Args:
        groups: those that may be moved.
        number: of each class.
        parts: of the groups, int [G].
        counts: images, float [P, C]; changed in place.
        expected: the same by the shares, float [P, C].
    """
    entries = _Entries(groups, number)
    parts, rows = parts.copy(), np.arange(len(groups))
    for _ in range(_MOST_MOVES if groups else 0):
        change = entries.change(parts, counts - expected, expected)
        change[parts, rows] = 0.0
        change[:, entries.has_the_last(parts, counts)] = 0.0
        part, group = divmod(int(change.argmin()), len(parts))
        if change[part, group] > -_LEAST_GAIN:
            break
        own = entries.group == group
        counts[parts[group], entries.label[own]] -= entries.images[own]
        counts[part, entries.label[own]] += entries.images[own]
        parts[group] = part
    return parts


class _Entries:
    """Groups as flat arrays, with one entry for each group and class.

    Attributes:
        group: of each entry, int [E], ascending.
        label: class number of each entry, int [E].
        images: of the group in the class, float [E].
        first: the first entry of each group, int [G].
    """

    def __init__(self, groups: Sequence[SplitGroup], number: Mapping[str, int]) -> None:
        entries = [
            (position, number[label], group.labels[label])
            for position, group in enumerate(groups)
            for label in sorted(group.labels)
        ]
        table = np.array(entries, np.int64).reshape(-1, 3)
        self.group, self.label, self.images = table[:, 0], table[:, 1], table[:, 2].astype(float)
        self.first = np.searchsorted(self.group, np.arange(len(groups)))

    def has_the_last(self, parts: Integers, counts: Floats) -> NDArray[np.bool_]:
        """Return which groups have all images of a class that their part has, bool [G]."""
        last = self.images >= counts[parts[self.group], self.label]
        return np.asarray(np.logical_or.reduceat(last, self.first))

    def change(self, parts: Integers, deviation: Floats, expected: Floats) -> Floats:
        """Return how moving each group to each part changes the statistic, float [P, G]."""
        images, label, now = self.images, self.label, parts[self.group]
        leave = (images**2 - 2 * images * deviation[now, label]) / expected[now, label]
        enter = (images**2 + 2 * images * deviation[:, label]) / expected[:, label]
        return np.asarray(np.add.reduceat(leave + enter, self.first, axis=1))
