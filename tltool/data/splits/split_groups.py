"""Groups of images that must be in the same split: copies, near duplicates and named groups."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.duplicates.disjoint_sets import DisjointSets
from tltool.data.duplicates.exact_copies import exact_copies
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.item_columns import ItemColumns, as_columns

Integers = NDArray[np.int64]
_BLOCK = 4096  # groups or members that are objects at once


@dataclass(frozen=True)
class SplitGroups:
    """Groups of items that must be in the same split, in the order of their first members.

    Attributes:
        names: of the groups [G]: of a named group, or for the content of duplicates; empty for a
            single image.
        positions: pseudo-random numbers in [0, 1), hashes of the seed and of the content or group:
            float64 [G].
        group: of each member, int64 [M].
        member: positions of the items, int64 [M].
        label: class of each member, int64 [M]: a position in ``label_names``.
        label_names: names of the classes, sorted.
    """

    names: Sequence[str]
    positions: NDArray[np.float64]
    group: Integers
    member: Integers
    label: Integers
    label_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sizes(self) -> Integers:
        """The number of members of each group: int64 [G]."""
        return np.bincount(self.group, minlength=len(self))

    @cached_property
    def entries(self) -> Integers:
        """Rows of (group, label, number of its images of that label), sorted: int64 [E, 3]."""
        classes = max(len(self.label_names), 1)
        keys, counts = np.unique(self.group * classes + self.label, return_counts=True)
        return np.stack([*np.divmod(keys, classes), counts], axis=1)

    def members(self) -> Iterator[tuple[int, int]]:
        """Yield the position of each item and the number of its group."""
        for start in range(0, len(self.member), _BLOCK):
            block = slice(start, start + _BLOCK)
            yield from zip(self.member[block].tolist(), self.group[block].tolist(), strict=True)

    def labels_of(self, group: int) -> Integers:
        """Return the labels of one group, ascending: int64 [K]."""
        start, stop = np.searchsorted(self.entries[:, 0], [group, group + 1])
        labels: Integers = self.entries[start:stop, 1]
        return labels


def make_split_groups(
    items: Sequence[Item],
    free: Sequence[int] | Integers,
    *,
    seed: int,
    clusters: Sequence[Cluster] = (),
    salt: str = "",
) -> SplitGroups:
    """Join the items at ``free`` by content, group and cluster, transitively.

    Args:
        items: all items.
        free: positions of the items to join, ascending; clusters are joined among these only.
        seed: of the random positions.
        clusters: near duplicates, by position in ``items``.
        salt: gives other random positions with the same seed.
    """
    chosen = np.asarray(free, np.int64)
    columns = as_columns(items).select(chosen)
    place = np.full(len(items), -1)
    place[chosen] = np.arange(len(chosen))
    sets = _joined(columns, [place[list(cluster.members)] for cluster in clusters])
    _, first, group = np.unique(sets.roots(), return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)  # of each group, in the order of first members
    number[np.argsort(first)] = np.arange(len(first))
    group = number[group]
    names, positions = _names_and_positions(columns, group, len(first), f"{salt}{seed}")
    present, label = np.unique(columns.label_ranks(), return_inverse=True)
    label_names = sorted(columns.label_names)
    return SplitGroups(
        names=names,
        positions=positions,
        group=group,
        member=chosen,
        label=label,
        label_names=[label_names[rank] for rank in present.tolist()],
    )


def _joined(items: ItemColumns, clusters: Sequence[Integers]) -> DisjointSets:
    """Return the items joined by content, group and cluster."""
    sets = DisjointSets(len(items))
    for copies in exact_copies(items):
        _join(sets, copies)
    first: dict[str, int] = {}
    for index in np.flatnonzero(items.rows["digest_bytes"] == 0).tolist():  # not audited
        sets.join(first.setdefault(items.path_texts[index], index), index)
    groups = items.rows["group"]
    grouped = np.flatnonzero(groups >= 0)
    _, first_of, place = np.unique(groups[grouped], return_index=True, return_inverse=True)
    for index, same in zip(grouped.tolist(), grouped[first_of[place]].tolist(), strict=True):
        sets.join(same, index)
    for cluster in clusters:
        _join(sets, cluster[cluster >= 0])
    return sets


def _join(sets: DisjointSets, members: Integers) -> None:
    for index in members[1:].tolist():
        sets.join(int(members[0]), index)


def _names_and_positions(
    items: ItemColumns, group: Integers, count: int, salt: str
) -> tuple[list[str], NDArray[np.float64]]:
    names, positions = [""] * count, np.empty(count)
    order, sizes = np.argsort(group, kind="stable"), np.bincount(group, minlength=count)
    starts = np.cumsum(sizes) - sizes
    for top in range(0, count, _BLOCK):
        block = slice(top, min(top + _BLOCK, count))
        keys = _keys(items, order[starts[top] : starts[top] + sizes[block].sum()])
        at = 0
        for number, size in enumerate(sizes[block].tolist(), start=top):
            # "group …" sorts before "sha256 …": a group keeps its position when it gains an image.
            key = min(keys[at : at + size])
            names[number], positions[number] = _name(key, size), _position(key, salt)
            at += size
    return names, positions


def _keys(items: ItemColumns, places: Integers) -> list[str]:
    """Return the group of each item, or else its content."""
    names, codes = items.group_names, items.rows["group"][places].tolist()
    return [
        f"group {names[code]}" if code >= 0 else f"sha256 {digest or items.path_texts[place]}"
        for place, code, digest in zip(places.tolist(), codes, items.digests(places), strict=True)
    ]


def _name(key: str, size: int) -> str:
    kind, _, value = key.partition(" ")
    return value if kind == "group" else f"duplicates {value[:12]}" if size > 1 else ""


def _position(key: str, salt: str) -> float:
    digest = hashlib.sha256(f"{salt}|{key}".encode(errors="surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a float, below 1
