"""Moves groups of images between splits until no move brings the classes nearer to their shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.data.splits.split_groups import Integers, SplitGroups

_MOST_MOVES = 1000  # a limit of the time; usually a few moves per class suffice
_MOST_ROUNDS = 5
_LEAST_GAIN = 1e-9  # smaller ones are rounding errors

Floats = NDArray[np.float64]


def rebalance(
    groups: SplitGroups, order: Integers, parts: Integers, shares: Sequence[float]
) -> None:
    """Move groups of the classes that are more than one image away from their share in a part.

    Each move is the one that reduces the sum of squared deviations most, each divided by the
    expected count (Pearson's chi-squared statistic of the classes and parts). No move takes the
    last image of a class from a part.

    Args:
        groups: all groups.
        order: their indices by position, int64 [G], which decides between equal moves.
        parts: the part of each group, int64 [G]; changed in place.
        shares: of the parts.
    """
    group, label, images = groups.entries.T
    counts = np.zeros((len(shares), len(groups.label_names)))
    np.add.at(counts, (parts[group], label), images)
    expected = np.outer(shares, counts.sum(axis=0))
    joined = np.zeros(len(groups.label_names), np.bool_)
    joined[label[groups.sizes[group] > 1]] = True
    for _ in range(_MOST_ROUNDS):  # a move can bring another class away from its shares
        off = joined & (np.abs(counts - expected).max(axis=0) > 1)
        can_move = np.zeros(len(groups), np.bool_)
        can_move[group[off[label]]] = True
        movable = order[can_move[order]]
        before = parts[movable]
        after = _best_moves(_Entries(groups, movable), before, counts, expected)
        parts[movable] = after
        if np.array_equal(before, after):
            break


def _best_moves(entries: _Entries, parts: Integers, counts: Floats, expected: Floats) -> Integers:
    """Return the part of each group after the best moves, int [G].

    Args:
        entries: of the groups that may be moved.
        parts: of the groups, int [G].
        counts: images, float [P, C]; changed in place.
        expected: the same by the shares, float [P, C].
    """
    parts, rows = parts.copy(), np.arange(len(parts))
    for _ in range(_MOST_MOVES if len(parts) else 0):
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
    """The entries of some groups, one for each group and class.

    Args:
        groups: all groups.
        chosen: the numbers of some of them, int64 [G].

    Attributes:
        group: of each entry, a position in ``chosen``: int [E], ascending.
        label: class number of each entry, int [E].
        images: of the group in the class, float [E].
        first: the first entry of each group, int [G].
    """

    def __init__(self, groups: SplitGroups, chosen: Integers) -> None:
        place = np.full(len(groups), -1)
        place[chosen] = np.arange(len(chosen))
        group, label, images = groups.entries[place[groups.entries[:, 0]] >= 0].T
        order = np.argsort(place[group], kind="stable")
        self.group, self.label = place[group][order], label[order]
        self.images = images[order].astype(float)
        self.first = np.searchsorted(self.group, np.arange(len(chosen)))

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
