"""Exact and near-duplicate images, as clusters that a split must keep together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.duplicates import image_match, perceptual_hash, shared_layout
from tltool.data.duplicates.perceptual_hash import HASH_SIDE

_CACHED_THUMBNAILS = 4096
_MANY_PAIRS = 10_000
_MOST_UNCONFIRMED = 100_000
_NEAREST = 10  # most images have at most 2 near hashes; of a shared layout (X-rays) all are near
_FEW_COMPARISONS = 5000
_PROGRESS_FROM = 500  # comparisons; they take some seconds

PairVerifier = Callable[[Sequence[tuple[Item, Item]]], Sequence[bool]]
Progress = Callable[[int, int], None]
ThumbnailLoader = Callable[[Path], image_match.GreyThumbnail | None]


@dataclass(frozen=True)
class Cluster:
    """Two or more duplicate images.

    Attributes:
        members: positions of the items, ascending.
        exact: whether all files have the same bytes.
    """

    members: tuple[int, ...]
    exact: bool


@dataclass(frozen=True)
class DuplicateClusters:
    """The result of a search for duplicates.

    Attributes:
        clusters: in the order of their first members; no item is in two.
        not_compared: how many pairs with similar hashes were not compared.
    """

    clusters: tuple[Cluster, ...]
    not_compared: int

    def describe_not_compared(self) -> str:
        """Return a sentence about ``not_compared``."""
        return (
            f"{self.not_compared:,} pairs of similar images were not compared (only the nearest"
            " neighbours of each image are): cropped duplicates may be missed"
        )


class DisjointSets:
    """Disjoint sets of numbers that can be joined (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

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


def cluster_duplicates(
    items: Sequence[Item],
    *,
    load_thumbnail: ThumbnailLoader = image_match.load_thumbnail,
    verify_pairs: PairVerifier | None = None,
    progress: Progress = lambda done, total: None,
) -> DuplicateClusters:
    """Return the clusters of exact and near duplicates among audited items.

    Exact duplicates have the same SHA-256. Near duplicates are resized, recompressed, brightened or
    slightly cropped copies: a perceptual hash proposes pairs, and a comparison of their thumbnails
    confirms them. Of images below 32 pixels only exact duplicates are found.

    Each image is compared with its nearest neighbours only, so that the time grows linearly. Where
    many images have similar hashes because they share a layout, they are hashed a second time
    without that layout.

    Args:
        items: items with ``sha256`` and ``perceptual_hash``; those without are in no cluster.
        load_thumbnail: reads the thumbnail of a file.
        verify_pairs: decides about the proposed pairs that the thumbnails did not confirm; it gets
            them nearest first and returns which are duplicates.
        progress: called with the number of items done and of all, in a long search.
    """
    search = _Search(items, load_thumbnail, progress, keep=verify_pairs is not None)
    hashed = [index for index in search.firsts if _has_detail(items[index])]
    hashes = (items[index].perceptual_hash or 0 for index in hashed)
    crowded, not_compared = search.compare(hashed, hashes, near=perceptual_hash.NEAR)
    if crowded:
        not_compared = search.compare_without_layout(crowded)
    search.end()
    if verify_pairs:
        pairs = np.array(search.unconfirmed, np.int64).reshape(-1, 2)
        _join_verified(verify_pairs, items, _not_joined(pairs, search.sets), search.sets)
    return DuplicateClusters(_clusters(items, search.sets), not_compared)


class _Search:
    """Compares pairs of images and joins the duplicates.

    Attributes:
        sets: of duplicate items.
        firsts: position of the first item of each content.
        unconfirmed: pairs with similar hashes whose thumbnails differ, where they are kept.
    """

    def __init__(
        self,
        items: Sequence[Item],
        load_thumbnail: ThumbnailLoader,
        progress: Progress,
        *,
        keep: bool,
    ) -> None:
        self.sets = DisjointSets(len(items))
        self.firsts = _join_exact(items, self.sets)
        self.unconfirmed: list[tuple[int, int]] = []
        self._items, self._progress = items, progress
        # by position: a new path object for each comparison takes longer than to compare
        self._thumbnail = lru_cache(_CACHED_THUMBNAILS)(
            lambda index: load_thumbnail(items[index].path)
        )
        self._most_kept = _MOST_UNCONFIRMED if keep else 0
        self._done = 0

    def compare(
        self, chosen: Sequence[int], hashes: Iterable[int], *, near: int
    ) -> tuple[list[int], int]:
        """Compare the images whose hashes are similar.

        Args:
            chosen: positions of items, ascending.
            hashes: of these items.
            near: largest Hamming distance at which two images are compared.

        Returns:
            those of ``chosen`` with more near hashes than they are compared with, or near such an
            image; and how many pairs were not compared for that reason.
        """
        positions, not_compared = np.array(chosen, np.int64), 0
        crowded, proposed = np.zeros(len(chosen), np.bool_), [np.zeros((0, 2), np.int64)]
        nearest = max(_NEAREST, _FEW_COMPARISONS // max(len(chosen), 1))
        for block in perceptual_hash.near_pairs(hashes, near=near, nearest=nearest):
            crowded, not_compared = crowded | block.crowded, not_compared + block.not_compared
            proposed.append(block.pairs)
            for first, second in _not_joined(positions[block.pairs], self.sets):
                self._report_progress(first)
                if self._is_duplicate(first, second):
                    self.sets.join(first, second)
                elif len(self.unconfirmed) < self._most_kept:
                    self.unconfirmed.append((first, second))
        pairs = np.concatenate(proposed)
        crowded[pairs[crowded[pairs].any(axis=1)]] = True
        return positions[crowded].tolist(), not_compared

    def compare_without_layout(self, crowded: Sequence[int]) -> int:
        """Compare images by hashes from which their shared layout was removed.

        Of images already joined, only one is compared.

        Returns:
            how many pairs were still not compared.
        """
        aligned = set(crowded)
        self.unconfirmed = [pair for pair in self.unconfirmed if not aligned.issuperset(pair)]
        representatives: dict[int, int] = {}
        for index in crowded:
            representatives.setdefault(self.sets.find(index), index)
        by_index: dict[int, NDArray[np.floating]] = {}
        layout = np.zeros((HASH_SIDE, HASH_SIDE))
        for index in representatives.values():
            self._report_progress(index)
            thumbnail = self._thumbnail(index)
            if thumbnail is not None:
                small = thumbnail.small()
                by_index[index] = perceptual_hash.frequencies_of(small[np.newaxis])[0]
                layout += small
        if not by_index:
            return 0
        frequencies = np.stack(list(by_index.values())).astype(np.float32)
        hashes = shared_layout.hashes_without_layout(frequencies, layout / len(by_index))
        _, not_compared = self.compare(list(by_index), hashes, near=shared_layout.NEAR)
        return not_compared

    def end(self) -> None:
        """Report that all items are done, if progress was reported before."""
        if self._done >= _PROGRESS_FROM:
            self._progress(len(self._items), len(self._items))

    def _report_progress(self, index: int) -> None:
        self._done += 1
        if self._done % _PROGRESS_FROM == 0:
            self._progress(index, len(self._items))

    def _is_duplicate(self, first: int, second: int) -> bool:
        first_thumbnail, second_thumbnail = self._thumbnail(first), self._thumbnail(second)
        if first_thumbnail is None or second_thumbnail is None:
            return False
        apart = _hash_distance(self._items[first], self._items[second])
        return image_match.is_same_image(first_thumbnail, second_thumbnail, apart)


def _join_verified(
    verify_pairs: PairVerifier,
    items: Sequence[Item],
    pairs: Iterator[tuple[int, int]],
    sets: DisjointSets,
) -> None:
    """Join the pairs that ``verify_pairs`` confirms."""
    large = [pair for pair in pairs if all(_is_large(items[index]) for index in pair)]
    large.sort(key=lambda pair: _hash_distance(items[pair[0]], items[pair[1]]))
    if large:
        confirmed = verify_pairs([(items[first], items[second]) for first, second in large])
        for (first, second), same in zip(large, confirmed, strict=True):
            if same:
                sets.join(first, second)


def _has_detail(item: Item) -> bool:
    """Return whether an image is large enough and has enough contrast to be compared."""
    return item.perceptual_hash is not None and min(item.width, item.height) >= HASH_SIDE


def _is_large(item: Item) -> bool:
    return min(item.width, item.height) >= image_match.THUMBNAIL_SIDE


def _join_exact(items: Sequence[Item], sets: DisjointSets) -> list[int]:
    """Join items with the same bytes and return the position of the first of each content."""
    # most digests occur once; a dictionary of all would take 200 bytes for each
    keys = np.fromiter((hash(item.sha256) for item in items), np.int64, len(items))
    _, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = counts[places] > 1
    first: dict[str, int] = {}
    firsts = []
    for index, item in enumerate(items):
        if item.sha256:
            same = first.setdefault(item.sha256, index) if repeated[index] else index
            sets.join(same, index)
            if same == index:
                firsts.append(index)
    return firsts


def _not_joined(pairs: NDArray[np.int64], sets: DisjointSets) -> Iterator[tuple[int, int]]:
    """Yield the pairs that are not yet joined, directly or through other images."""
    if len(pairs) > _MANY_PAIRS:  # frames of a video: nearly all are already joined
        numbers, places = np.unique(pairs, return_inverse=True)
        roots = np.array([sets.find(number) for number in numbers.tolist()])
        roots = roots[places.reshape(pairs.shape)]
        pairs = pairs[roots[:, 0] != roots[:, 1]]
    for first, second in pairs.tolist():
        if sets.find(first) != sets.find(second):
            yield first, second


def _hash_distance(first: Item, second: Item) -> int:
    assert first.perceptual_hash is not None and second.perceptual_hash is not None
    return perceptual_hash.distance(first.perceptual_hash, second.perceptual_hash)


def _clusters(items: Sequence[Item], sets: DisjointSets) -> tuple[Cluster, ...]:
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(items)):
        members[sets.find(index)].append(index)
    return tuple(
        Cluster(tuple(indices), exact=len({items[index].sha256 for index in indices}) == 1)
        for indices in members.values()
        if len(indices) > 1
    )
