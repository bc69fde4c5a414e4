"""Exact and near-duplicate images, as clusters that a split must keep together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Item
from tltool.data.duplicates import hash_regions, image_match, perceptual_hash, shared_layout
from tltool.data.duplicates.disjoint_sets import DisjointSets
from tltool.data.duplicates.exact_copies import exact_copies
from tltool.data.duplicates.perceptual_hash import HASH_SIDE, pack_hashes
from tltool.data.item_columns import ItemColumns, as_columns

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
        hashes_not_compared: how many pairs of hashes were not compared, as there are too many.
    """

    clusters: tuple[Cluster, ...]
    not_compared: int
    hashes_not_compared: int = 0

    def describe_not_compared(self) -> Iterator[tuple[str, str]]:
        """Yield (sentence, what to do) about each kind of pairs that were not compared, if any."""
        if self.not_compared:
            yield (
                f"{self.not_compared:,} pairs of similar images were not compared (only the nearest"
                " neighbours of each image are): cropped duplicates may be missed",
                "nothing, if the images share a layout, as X-rays or portraits do",
            )
        if self.hashes_not_compared:
            yield (
                f"{self.hashes_not_compared:,} pairs of images were not compared (of more than "
                f"{hash_regions.ALL_PAIRS:,} images only those with hashes of the same region are):"
                " near duplicates may be missed, exact ones are all found",
                "to compare all pairs, check parts of the data set, such as single classes",
            )


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
    without that layout. To find the nearest neighbours, all pairs of hashes are compared; with more
    than ``hash_regions.ALL_PAIRS`` images, only the pairs of the same region.

    Args:
        items: items with ``sha256`` and ``perceptual_hash``; those without are in no cluster.
        load_thumbnail: reads the thumbnail of a file.
        verify_pairs: decides about the proposed pairs that the thumbnails did not confirm; it gets
            them nearest first and returns which are duplicates.
        progress: called with the number of items done and of all, in a long search.
    """
    columns = as_columns(items)
    search = _Search(columns, load_thumbnail, progress, keep=verify_pairs is not None)
    hashed = search.firsts[_has_detail(columns)[search.firsts]]
    hashes = search.hashes[hashed]
    crowded, not_compared = search.compare(hashed, hashes, near=perceptual_hash.NEAR)
    if len(crowded):
        not_compared = search.compare_without_layout(crowded)
    search.end()
    if verify_pairs:
        pairs = np.array(search.unconfirmed, np.int64).reshape(-1, 2)
        search.join_verified(verify_pairs, _not_joined(pairs, search.sets))
    clusters = _clusters(columns, search.sets)
    return DuplicateClusters(clusters, not_compared, search.hashes_not_compared)


class _Search:
    """Compares pairs of images and joins the duplicates.

    Attributes:
        sets: of duplicate items.
        firsts: position of the first item of each content, int64 [F], ascending.
        hashes: perceptual hash of each item, uint8 [N, 32].
        hashes_not_compared: how many pairs of hashes are in different regions, at least.
        unconfirmed: pairs with similar hashes whose thumbnails differ, where they are kept.
    """

    def __init__(
        self,
        items: ItemColumns,
        load_thumbnail: ThumbnailLoader,
        progress: Progress,
        *,
        keep: bool,
    ) -> None:
        self.sets = DisjointSets(len(items))
        self.firsts = _join_exact(items, self.sets)
        _, self.hashes = items.hashes()
        self.hashes_not_compared = 0
        self.unconfirmed: list[tuple[int, int]] = []
        self._items, self._progress = items, progress
        # by position: a new path object for each comparison takes longer than to compare
        self._thumbnail = lru_cache(_CACHED_THUMBNAILS)(
            lambda index: load_thumbnail(items[index].path)
        )
        self._shorter_side = _shorter_side(items)
        self._most_kept = _MOST_UNCONFIRMED if keep else 0
        self._done = 0

    def compare(
        self, chosen: NDArray[np.int64], hashes: NDArray[np.uint8], *, near: int
    ) -> tuple[NDArray[np.int64], int]:
        """Compare the images whose hashes are similar.

        Args:
            chosen: positions of items, int64 [M], ascending.
            hashes: of these items, uint8 [M, 32].
            near: largest Hamming distance at which two images are compared.

        Returns:
            those of ``chosen`` with more near hashes than they are compared with, or near such an
            image; and how many pairs were not compared for that reason.
        """
        not_compared = 0
        crowded, proposed = np.zeros(len(chosen), np.bool_), [np.zeros((0, 2), np.int64)]
        nearest = max(_NEAREST, _FEW_COMPARISONS // max(len(chosen), 1))
        regions, skipped = hash_regions.regions_of(hashes)
        self.hashes_not_compared = max(self.hashes_not_compared, skipped)
        for region in regions:
            for block in perceptual_hash.near_pairs(hashes[region], near=near, nearest=nearest):
                crowded[region[block.crowded]] = True
                not_compared += block.not_compared
                proposed.append(region[block.pairs])
                self._compare_thumbnails(chosen[proposed[-1]])
        pairs = np.concatenate(proposed)
        crowded[pairs[crowded[pairs].any(axis=1)]] = True
        return chosen[crowded], not_compared

    def _compare_thumbnails(self, pairs: NDArray[np.int64]) -> None:
        """Join the pairs of items that are duplicates."""
        for first, second in _not_joined(self._comparable(pairs), self.sets):
            self._report_progress(first)
            if self._is_duplicate(first, second):
                self.sets.join(first, second)
            elif len(self.unconfirmed) < self._most_kept:
                self.unconfirmed.append((first, second))

    def _comparable(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pairs without those of small images whose hashes differ too much for copies.

        Their thumbnails need not be read.
        """
        first, second = pairs.T
        apart = perceptual_hash.distances(self.hashes[first], self.hashes[second])
        is_small = self._shorter_side < image_match.THUMBNAIL_SIDE
        compared = (apart <= image_match.NEAR_SMALL) | ~(is_small[first] | is_small[second])
        return np.asarray(pairs[compared])

    def compare_without_layout(self, crowded: NDArray[np.int64]) -> int:
        """Compare images by hashes from which their shared layout was removed.

        Of images already joined, only one is compared.

        Returns:
            how many pairs were still not compared.
        """
        aligned = set(crowded.tolist())
        self.unconfirmed = [pair for pair in self.unconfirmed if not aligned.issuperset(pair)]
        representatives: dict[int, int] = {}
        for index in crowded.tolist():
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
        chosen = np.array(list(by_index), np.int64)
        _, not_compared = self.compare(chosen, pack_hashes(hashes), near=shared_layout.NEAR)
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
        apart = perceptual_hash.distance(self.hashes[first], self.hashes[second])
        return image_match.is_same_image(first_thumbnail, second_thumbnail, apart)

    def join_verified(self, verify_pairs: PairVerifier, pairs: Iterator[tuple[int, int]]) -> None:
        """Join the pairs that ``verify_pairs`` confirms."""
        is_large = self._shorter_side >= image_match.THUMBNAIL_SIDE
        large = [pair for pair in pairs if is_large[list(pair)].all()]
        large.sort(key=lambda pair: perceptual_hash.distance(*self.hashes[list(pair)]))
        if large:
            both = [(self._items[first], self._items[second]) for first, second in large]
            for (first, second), same in zip(large, verify_pairs(both), strict=True):
                if same:
                    self.sets.join(first, second)


def _has_detail(items: ItemColumns) -> NDArray[np.bool_]:
    """Return which images are large enough and have enough contrast to be compared: bool [N]."""
    has_hash, _ = items.hashes()
    return has_hash & (_shorter_side(items) >= HASH_SIDE)


def _shorter_side(items: ItemColumns) -> NDArray[np.int32]:
    result: NDArray[np.int32] = np.minimum(items.rows["width"], items.rows["height"])
    return result


def _join_exact(items: ItemColumns, sets: DisjointSets) -> NDArray[np.int64]:
    """Join items with the same bytes and return the position of the first of each content."""
    first = items.rows["digest_bytes"] > 0
    for copies in exact_copies(items):
        for copy in copies[1:].tolist():
            sets.join(int(copies[0]), copy)
        first[copies[1:]] = False
    return np.flatnonzero(first)


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


def _clusters(items: ItemColumns, sets: DisjointSets) -> tuple[Cluster, ...]:
    """Return the clusters in the order of their first members."""
    digests = items.rows["sha256"]
    clusters = [
        Cluster(
            tuple(members.tolist()), exact=bool((digests[members] == digests[members[0]]).all())
        )
        for members in sets.members()
    ]
    return tuple(sorted(clusters, key=lambda cluster: cluster.members[0]))
