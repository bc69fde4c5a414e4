"""Disjoint sets of numbers that can be joined."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class DisjointSets:
    """Disjoint sets of the numbers from 0 on that can be joined (union-find).

    Args:
        count: of the numbers; at first each is alone.
    """

    def __init__(self, count: int) -> None:
        self._parent = array("q", range(count))  # a list takes five times as much memory

    def find(self, number: int) -> int:
        """Return the representative of the set that contains ``number``."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, first: int, second: int) -> None:
        """Merge the sets of two numbers."""
        self._parent[self.find(second)] = self.find(first)

    def roots(self) -> NDArray[np.int64]:
        """Return the representative of the set of each number: int64 [N]."""
        roots = np.array(self._parent, np.int64)
        while True:
            above = roots[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def members(self) -> Iterator[NDArray[np.int64]]:
        """Yield the numbers of each set with more than one, ascending."""
        roots = self.roots()
        together = np.flatnonzero(np.bincount(roots, minlength=len(roots))[roots] > 1)
        order = together[np.argsort(roots[together], kind="stable")]
        starts = np.flatnonzero(np.diff(roots[order])) + 1
        yield from (part for part in np.split(order, starts) if len(part))
