"""Images that show the same picture, as clusters that a split must not tear apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data import perceptual
from tltool.data.catalog import Item
from tltool.data.perceptual import HASH_SIDE

_KEPT_LOOKS = 4096
_MANY_PAIRS = 10_000
_MOST_UNDECIDED = 100_000
_WORTH_TELLING = 500  # comparisons, some seconds

SecondOpinion = Callable[[Sequence[tuple[Item, Item]]], Sequence[bool]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Cluster:
    """Positions of two or more items with the same picture, ascending.

    ``exact`` tells that all have the same bytes.
    """

    members: tuple[int, ...]
    exact: bool


@dataclass(frozen=True)
class Copies:
    """What a search for copies has found.

    Attributes:
        clusters: in the order of their first members; no item is in two.
        left_out: how many pairs of images that look alike at a glance were not compared.
    """

    clusters: tuple[Cluster, ...]
    left_out: int

    def told_left_out(self) -> str:
        """Return what ``left_out`` means, in a sentence."""
        return (
            f"{self.left_out:,} pairs of images that look alike at a glance were not compared: each"
            f" image was, with the {perceptual.NEAREST} nearest ones, so that a cropped copy may be"
            " missed"
        )


class Groups:
    """Disjoint sets of numbers that can be joined (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, number: int) -> int:
        """Return the number that stands for the set of ``number``."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, first: int, second: int) -> None:
        """Make the sets of two numbers one."""
        self._parent[self.find(second)] = self.find(first)


def find_copies(
    items: Sequence[Item],
    *,
    look: Callable[[Path], perceptual.Look | None] = perceptual.look,
    second_opinion: SecondOpinion | None = None,
    progress: Progress = lambda done, total: None,
) -> Copies:
    """Return the clusters of exact and near duplicates among audited items.

    Exact ones have the same SHA-256. Near ones are resized, recompressed, brighter or slightly
    cropped copies: a perceptual hash proposes them, and a second look at both files decides. Of
    images below 32 pixels only exact copies are found. Where many images have one layout, each is
    compared with those that are nearest to it, so that the time stays in proportion.

    Args:
        items: items with ``sha256`` and ``perceptual_hash``; those without are in no cluster.
        look: how a file is looked at again.
        second_opinion: asked about the proposed pairs whose files do not lie one over the other;
            it gets them nearest first and says which are copies all the same.
        progress: hears how many of all items are done, where there is much to compare.
    """
    groups = Groups(len(items))
    firsts = _join_copies(items, groups)
    hashed = np.array([index for index in firsts if _has_detail(items[index])], np.int64)
    seen = lru_cache(_KEPT_LOOKS)(look)
    undecided: list[tuple[int, int]] = []
    compared = left_out = 0
    for near in perceptual.near_pairs([items[index].perceptual_hash or 0 for index in hashed]):
        left_out += near.left_out
        for first, second in _still_apart(hashed[near.pairs], groups):
            compared += 1
            if compared % _WORTH_TELLING == 0:
                progress(first, len(items))
            if _same(items[first], items[second], seen):
                groups.join(first, second)
            elif second_opinion and len(undecided) < _MOST_UNDECIDED:
                undecided.append((first, second))
    if compared >= _WORTH_TELLING:
        progress(len(items), len(items))
    if second_opinion:
        _join_by(
            second_opinion,
            items,
            _still_apart(np.array(undecided, np.int64).reshape(-1, 2), groups),
            groups,
        )
    return Copies(_clusters(items, groups), left_out)


def _join_by(
    second_opinion: SecondOpinion,
    items: Sequence[Item],
    pairs: Iterator[tuple[int, int]],
    groups: Groups,
) -> None:
    """Join the pairs that a second opinion takes for copies."""
    large = [pair for pair in pairs if all(_is_large(items[index]) for index in pair)]
    large.sort(key=lambda pair: _bits_apart(items[pair[0]], items[pair[1]]))
    if large:
        told = second_opinion([(items[first], items[second]) for first, second in large])
        for (first, second), same in zip(large, told, strict=True):
            if same:
                groups.join(first, second)


def _has_detail(item: Item) -> bool:
    """Tell whether an image is large enough to be told from others like it, and not plain."""
    return item.perceptual_hash is not None and min(item.width, item.height) >= HASH_SIDE


def _is_large(item: Item) -> bool:
    return min(item.width, item.height) >= perceptual.SMALL


def _join_copies(items: Sequence[Item], groups: Groups) -> list[int]:
    """Join items of the same bytes and return the position of the first of each content."""
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        if item.sha256:
            groups.join(first.setdefault(item.sha256, index), index)
    return list(first.values())


def _still_apart(pairs: NDArray[np.int64], groups: Groups) -> Iterator[tuple[int, int]]:
    """Yield the pairs that are not yet joined, be it through a third."""
    if len(pairs) > _MANY_PAIRS:  # frames of a film: nearly all are joined already
        numbers, places = np.unique(pairs, return_inverse=True)
        found = np.array([groups.find(number) for number in numbers.tolist()])
        found = found[places.reshape(pairs.shape)]
        pairs = pairs[found[:, 0] != found[:, 1]]
    for first, second in pairs.tolist():
        if groups.find(first) != groups.find(second):
            yield first, second


def _same(first: Item, second: Item, seen: Callable[[Path], perceptual.Look | None]) -> bool:
    one, other = seen(first.path), seen(second.path)
    if one is None or other is None:
        return False
    return perceptual.same_picture(one, other, _bits_apart(first, second))


def _bits_apart(first: Item, second: Item) -> int:
    assert first.perceptual_hash is not None and second.perceptual_hash is not None
    return perceptual.distance(first.perceptual_hash, second.perceptual_hash)


def _clusters(items: Sequence[Item], groups: Groups) -> tuple[Cluster, ...]:
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(items)):
        members[groups.find(index)].append(index)
    return tuple(
        Cluster(tuple(found), exact=len({items[index].sha256 for index in found}) == 1)
        for found in members.values()
        if len(found) > 1
    )
