"""Assigns groups of images to splits or folds: stratified by count, and stable.

Each group has a pseudo-random position, a hash of its content. In each class the single images are
sorted by position and cut where the shares end, so that each part gets its share of them, rounded.
A new image shifts each cut by at most one image: at each cut it changes the part of at most one
other image, of its own class.

Groups of several images are placed first, by their place in the same order, and the single images
of their classes then fill what is missing. Where they cannot, groups are moved one by one, always
the one that brings the classes nearest to their shares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tltool.data.splits.rebalance import rebalance
from tltool.data.splits.split_groups import Integers, SplitGroups
from tltool.errors import DataError

Shares = Mapping[str, float]
"""Share of the images of each split or fold, above 0; the sum is 1."""


def assign(groups: SplitGroups, shares: Shares) -> Integers:
    """Return the split of each group, so that each class is divided by the shares.

    A class of single images is within one image of its share in each split. With groups of several
    images, classes that are not are as near as whole groups allow: moving one of them would not
    reduce the sum of squared deviations, each divided by the expected count. Every class has at
    least one group in each split.

    Args:
        groups: to assign.
        shares: of the splits, in the order of the positions.

    Returns:
        positions in ``shares``, int64 [G].

    Raises:
        DataError: a class has fewer groups than there are splits, or shares its groups with other
            classes so that none can be moved to a split.
    """
    _check_enough(groups, list(shares))
    ends = list(itertools.accumulate(shares.values()))[:-1]
    parts = np.zeros(len(groups), np.int64)
    order = np.argsort(groups.positions, kind="stable")
    joined = bool((groups.sizes > 1).any())
    if joined:
        _place_joined(groups, order, ends, parts)
    _place_single(groups, order, ends, parts)
    if joined:
        rebalance(groups, order, parts, list(shares.values()))
    if _ensure_every_class(groups, parts, list(shares), [0.0, *ends, 1.0]) and joined:
        rebalance(groups, order, parts, list(shares.values()))
    return parts


def _place_joined(
    groups: SplitGroups, order: Integers, ends: Sequence[float], parts: Integers
) -> None:
    """Place each group of several images in the part that contains the middle of its images.

    Images are counted in order of position: those of the class, or of all classes for a group
    that has images of several.
    """
    sizes, ranks = groups.sizes, np.empty_like(order)
    ranks[order] = np.arange(len(order))
    before, total = np.empty(len(groups)), np.full(len(groups), sizes.sum())
    before[order] = np.cumsum(sizes[order]) - sizes[order]
    entries = groups.entries
    entries = entries[np.lexsort((ranks[entries[:, 0]], entries[:, 1]))]
    group, label, images = entries.T
    of_label = np.bincount(label, weights=images)
    so_far = np.cumsum(images) - images - (np.cumsum(of_label) - of_label)[label]
    of_one_class = np.bincount(group, minlength=len(groups))[group] == 1
    before[group[of_one_class]] = so_far[of_one_class]
    total[group[of_one_class]] = of_label[label[of_one_class]]
    joined = sizes > 1
    middle = (before[joined] + sizes[joined] / 2) / total[joined]
    parts[joined] = np.searchsorted(ends, middle, side="right")


def _place_single(
    groups: SplitGroups, order: Integers, ends: Sequence[float], parts: Integers
) -> None:
    """Place the single images of each class: they fill what its groups have left in each part."""
    group, label, images = groups.entries.T
    joined = groups.sizes[group] > 1
    placed = np.zeros((len(groups.label_names), len(ends) + 1), np.int64)
    np.add.at(placed, (label[joined], parts[group[joined]]), images[joined])
    label_of = np.zeros(len(groups), np.int64)
    label_of[group] = label
    single = order[groups.sizes[order] == 1]
    single = single[np.argsort(label_of[single], kind="stable")]
    counts = np.bincount(label_of[single], minlength=len(groups.label_names))
    for number, indices in enumerate(np.split(single, np.cumsum(counts)[:-1])):
        before = list(itertools.accumulate(placed[number].tolist()))
        cuts = _cuts(len(indices) + before[-1], ends)
        start = 0
        for part, (cut, taken) in enumerate(zip(cuts, before, strict=True)):
            stop = max(start, min(cut - taken, len(indices)))
            parts[indices[start:stop]] = part
            start = stop


def _cuts(n: int, ends: Sequence[float]) -> list[int]:
    """Return the number of images up to the end of each part; no part is empty.

    With one image more, no cut moves by more than one: the images that change their part are few.
    """
    cuts: list[int] = []
    for number, end in enumerate(ends):
        least = cuts[-1] + 1 if cuts else 1
        cuts.append(min(max(math.floor(n * end + 0.5), least), n - (len(ends) - number)))
    return [*cuts, n]


def _check_enough(groups: SplitGroups, splits: Sequence[str]) -> None:
    count = np.bincount(groups.entries[:, 1], minlength=len(groups.label_names)).tolist()
    few = [
        f"{label!r} has {number}"
        for label, number in zip(groups.label_names, count, strict=True)
        if number < len(splits)
    ]
    if few:
        needed_for = " and ".join(reversed(splits)) if len(splits) < 4 else f"{len(splits)} folds"
        joined = any(groups.names)
        note = " (duplicates and groups count as one)" if joined else ""
        raise DataError(
            f"every class needs at least {len(splits)} different images{note}, one each for"
            f" {needed_for}; {', '.join(few)}",
            hint="add images to these classes, remove the classes, or use fewer splits",
        )


def _ensure_every_class(
    groups: SplitGroups, parts: Integers, names: Sequence[str], ends: Sequence[float]
) -> bool:
    """Move one group of a class to each part that has none, the nearest one.

    Returns whether a group was moved.

    Args:
        groups: all groups.
        parts: of each group; changed in place.
        names: of the parts.
        ends: positions at which the parts begin and end.

    Raises:
        DataError: none can be moved.
    """
    group, label, _ = groups.entries.T
    counts = np.zeros((len(names), len(groups.label_names)), np.int64)
    np.add.at(counts, (parts[group], label), 1)
    missing = np.argwhere(counts.T == 0).tolist()
    for number, part in missing:
        if counts[part, number]:  # a group with several classes was moved here
            continue
        # every class of a group must keep another group in the split that it leaves
        movable = [
            index
            for index in group[label == number].tolist()
            if (counts[parts[index], groups.labels_of(index)] > 1).all()
        ]
        if not movable:
            raise DataError(
                f"no image of class {groups.label_names[number]!r} is left for {names[part]},"
                " because duplicates and groups must stay in one split",
                hint="add images to this class, or use fewer splits",
            )
        bounds = ends[part], ends[part + 1]
        nearest = min(movable, key=lambda i: (_distance(float(groups.positions[i]), *bounds), i))
        counts[parts[nearest], groups.labels_of(nearest)] -= 1
        counts[part, groups.labels_of(nearest)] += 1
        parts[nearest] = part
    return bool(missing)


def _distance(position: float, low: float, high: float) -> float:
    return max(low - position, position - high, 0.0)
