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
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from tltool.data.splits.rebalance import rebalance
from tltool.data.splits.split_groups import SplitGroup
from tltool.errors import DataError

Shares = Mapping[str, float]
"""Share of the images of each split or fold, above 0; the sum is 1."""


def assign(groups: Sequence[SplitGroup], shares: Shares) -> list[str]:
    """Return the split of each group, so that each class is divided by the shares.

    A class of single images is within one image of its share in each split. With groups of several
    images, classes that are not are as near as whole groups allow: moving one of them would not
    reduce the sum of squared deviations, each divided by the expected count. Every class has at
    least one group in each split.

    Args:
        groups: to assign.
        shares: of the splits, in the order of the positions.

    Raises:
        DataError: a class has fewer groups than there are splits, or shares its groups with other
            classes so that none can be moved to a split.
    """
    _check_enough(groups, list(shares))
    ends = list(itertools.accumulate(shares.values()))[:-1]
    parts = [0] * len(groups)
    order = sorted(range(len(groups)), key=lambda index: groups[index].position)
    joined = [index for index in order if len(groups[index].members) > 1]
    if joined:
        _place_joined(groups, order, ends, parts)
    _place_single(groups, order, joined, ends, parts)
    if joined:
        rebalance(groups, order, parts, list(shares.values()))
    if _ensure_every_class(groups, parts, list(shares), [0.0, *ends, 1.0]) and joined:
        rebalance(groups, order, parts, list(shares.values()))
    names = list(shares)
    return [names[part] for part in parts]


def _place_joined(
    groups: Sequence[SplitGroup], order: Sequence[int], ends: Sequence[float], parts: list[int]
) -> None:
    """Place each group of several images in the part that contains the middle of its images.

    Images are counted in order of position: those of the class, or of all classes for a group
    that has images of several.
    """
    sizes: Counter[str | None] = Counter()
    for group in groups:
        sizes.update(group.labels)
        sizes[None] += len(group.members)
    before: Counter[str | None] = Counter()
    for index in order:
        group = groups[index]
        stratum = next(iter(group.labels)) if len(group.labels) == 1 else None
        size = len(group.members)
        if size > 1:
            parts[index] = bisect_right(ends, (before[stratum] + size / 2) / sizes[stratum])
        before.update(group.labels)
        before[None] += size


def _place_single(
    groups: Sequence[SplitGroup],
    order: Sequence[int],
    joined: Sequence[int],
    ends: Sequence[float],
    parts: list[int],
) -> None:
    """Place the single images of each class: they fill what its groups have left in each part."""
    single: dict[str, list[int]] = defaultdict(list)
    for index in order:
        if len(groups[index].members) == 1:
            single[next(iter(groups[index].labels))].append(index)
    placed: dict[str, list[int]] = defaultdict(lambda: [0] * (len(ends) + 1))
    for index in joined:
        for label, count in groups[index].labels.items():
            placed[label][parts[index]] += count
    for label, indices in single.items():
        before = list(itertools.accumulate(placed[label]))
        cuts = _cuts(len(indices) + before[-1], ends)
        start = 0
        for part, (cut, taken) in enumerate(zip(cuts, before, strict=True)):
            stop = max(start, min(cut - taken, len(indices)))
            for index in indices[start:stop]:
                parts[index] = part
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


def _check_enough(groups: Sequence[SplitGroup], splits: Sequence[str]) -> None:
    count = Counter(label for group in groups for label in group.labels)
    few = [f"{label!r} has {count[label]}" for label in sorted(count) if count[label] < len(splits)]
    if few:
        needed_for = " and ".join(reversed(splits)) if len(splits) < 4 else f"{len(splits)} folds"
        joined = any(group.name for group in groups)
        note = " (duplicates and groups count as one)" if joined else ""
        raise DataError(
            f"every class needs at least {len(splits)} different images{note}, one each for"
            f" {needed_for}; {', '.join(few)}",
            hint="add images to these classes, remove the classes, or use fewer splits",
        )


def _ensure_every_class(
    groups: Sequence[SplitGroup], parts: list[int], names: Sequence[str], ends: Sequence[float]
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
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        for label in group.labels:
            of_class[label].append(index)
    counts = Counter((parts[i], label) for label, indices in of_class.items() for i in indices)
    moved = False
    for label in sorted(of_class):
        for part, name in enumerate(names):
            if counts[part, label]:
                continue
            # every class of a group must keep another group in the split that it leaves
            movable = [
                index
                for index in of_class[label]
                if all(counts[parts[index], each] > 1 for each in groups[index].labels)
            ]
            if not movable:
                raise DataError(
                    f"no image of class {label!r} is left for {name}, because duplicates and groups"
                    " must stay in one split",
                    hint="add images to this class, or use fewer splits",
                )
            bounds = ends[part], ends[part + 1]
            nearest = min(movable, key=lambda i: (_distance(groups[i].position, *bounds), i))
            for each in groups[nearest].labels:
                counts[parts[nearest], each] -= 1
                counts[part, each] += 1
            parts[nearest] = part
            moved = True
    return moved


def _distance(position: float, low: float, high: float) -> float:
    return max(low - position, position - high, 0.0)
