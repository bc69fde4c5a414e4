"""Images that show the same picture, as clusters that a split must not tear apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.duplicates import image_match, perceptual_hash, shared_layout
from tltool.data.duplicates.perceptual_hash import HASH_SIDE

_KEPT_LOOKS = 4096
_MANY_PAIRS = 10_000
_MOST_UNDECIDED = 100_000
_NEAREST = 10  # images have 2 at most that are near, but of one layout, as X-rays have, all are
_FEW_COMPARISONS = 5000
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

    def describe_left_out(self) -> str:
        """Return what ``left_out`` means, in a sentence."""
        return (
            f"{self.left_out:,} pairs of images that look alike at a glance were not compared, only"
            " the nearest ones of each image: a cropped copy may be missed"
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
    look: Callable[[Path], image_match.GreyThumbnail | None] = image_match.look,
    second_opinion: SecondOpinion | None = None,
    progress: Progress = lambda done, total: None,
) -> Copies:
    """Return the clusters of exact and near duplicates among audited items.

    Exact ones have the same SHA-256. Near ones are resized, recompressed, brighter or slightly
    cropped copies: a perceptual hash proposes them, and a second look at both files decides. Of
    images below 32 pixels only exact copies are found.

    Each image is compared with few others, so that the time stays in proportion. Where many images
    are near to each other, since all have one layout, they are hashed once more without it.

    Args:
        items: items with ``sha256`` and ``perceptual_hash``; those without are in no cluster.
        look: how a file is looked at again.
        second_opinion: asked about the proposed pairs whose files do not lie one over the other;
            it gets them nearest first and says which are copies all the same.
        progress: hears how many of all items are done, where there is much to compare.
    """
    search = _Search(items, look, progress, keep=second_opinion is not None)
    hashed = [index for index in search.firsts if _has_detail(items[index])]
    hashes = [items[index].perceptual_hash or 0 for index in hashed]
    crowd, left_out = search.compare(hashed, hashes, near=perceptual_hash.NEAR)
    if crowd:
        left_out = search.compare_without_layout(crowd)
    search.end()
    if second_opinion:
        pairs = np.array(search.undecided, np.int64).reshape(-1, 2)
        _join_by(second_opinion, items, _still_apart(pairs, search.groups), search.groups)
    return Copies(_clusters(items, search.groups), left_out)


class _Search:
    """Compares pairs of images and joins those that show the same.

    Attributes:
        groups: of the items.
        firsts: position of the first item of each content.
        undecided: pairs that do not lie one over the other, if they are kept.
    """

    def __init__(
        self,
        items: Sequence[Item],
        look: Callable[[Path], image_match.GreyThumbnail | None],
        progress: Progress,
        *,
        keep: bool,
    ) -> None:
        self.groups = Groups(len(items))
        self.firsts = _join_copies(items, self.groups)
        self.undecided: list[tuple[int, int]] = []
        self._items, self._progress = items, progress
        self._look = lru_cache(_KEPT_LOOKS)(look)
        self._most_kept = _MOST_UNDECIDED if keep else 0
        self._done = 0

    def compare(
        self, chosen: Sequence[int], hashes: Sequence[int], *, near: int
    ) -> tuple[list[int], int]:
        """Compare the images whose hashes are near.

        Args:
            chosen: positions of items, ascending.
            hashes: of theirs.
            near: bits apart up to which two are compared.

        Returns:
            those of ``chosen`` that are near to more images than they are compared with, or to
            such an image; and how many pairs were left out for that.
        """
        positions, left_out = np.array(chosen, np.int64), 0
        crowded, proposed = np.zeros(len(chosen), np.bool_), [np.zeros((0, 2), np.int64)]
        nearest = max(_NEAREST, _FEW_COMPARISONS // max(len(chosen), 1))
        for found in perceptual_hash.near_pairs(hashes, near=near, nearest=nearest):
            crowded, left_out = crowded | found.crowded, left_out + found.left_out
            proposed.append(found.pairs)
            for first, second in _still_apart(positions[found.pairs], self.groups):
                self._tell(first)
                if self._same(first, second):
                    self.groups.join(first, second)
                elif len(self.undecided) < self._most_kept:
                    self.undecided.append((first, second))
        pairs = np.concatenate(proposed)
        crowded[pairs[crowded[pairs].any(axis=1)]] = True
        return positions[crowded].tolist(), left_out

    def compare_without_layout(self, crowd: Sequence[int]) -> int:
        """Compare images with those that are near when what most of them share is taken away.

        Of images that were found to be copies of each other, one stands for all.

        Returns:
            how many pairs were left out again.
        """
        alike = set(crowd)
        self.undecided = [pair for pair in self.undecided if not alike.issuperset(pair)]
        heads: dict[int, int] = {}
        for index in crowd:
            heads.setdefault(self.groups.find(index), index)
        found: dict[int, NDArray[np.floating]] = {}
        layout = np.zeros((HASH_SIDE, HASH_SIDE))
        for index in heads.values():
            self._tell(index)
            seen = self._look(self._items[index].path)
            if seen is not None:
                found[index] = perceptual_hash.frequencies_of(seen.small()[np.newaxis])[0]
                layout += seen.small()
        if not found:
            return 0
        frequencies = np.stack(list(found.values())).astype(np.float32)
        hashes = shared_layout.layout_free_hashes(frequencies, layout / len(found))
        _, left_out = self.compare(list(found), hashes, near=shared_layout.NEAR)
        return left_out

    def end(self) -> None:
        """Say that all is done, if anything was said."""
        if self._done >= _WORTH_TELLING:
            self._progress(len(self._items), len(self._items))

    def _tell(self, index: int) -> None:
        self._done += 1
        if self._done % _WORTH_TELLING == 0:
            self._progress(index, len(self._items))

    def _same(self, first: int, second: int) -> bool:
        one, other = self._items[first], self._items[second]
        seen = self._look(one.path), self._look(other.path)
        if seen[0] is None or seen[1] is None:
            return False
        return image_match.same_picture(seen[0], seen[1], _bits_apart(one, other))


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
    return min(item.width, item.height) >= image_match.SMALL


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


def _bits_apart(first: Item, second: Item) -> int:
    assert first.perceptual_hash is not None and second.perceptual_hash is not None
    return perceptual_hash.distance(first.perceptual_hash, second.perceptual_hash)


def _clusters(items: Sequence[Item], groups: Groups) -> tuple[Cluster, ...]:
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(items)):
        members[groups.find(index)].append(index)
    return tuple(
        Cluster(tuple(found), exact=len({items[index].sha256 for index in found}) == 1)
        for found in members.values()
        if len(found) > 1
    )
