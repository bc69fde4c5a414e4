"""Groups of images that must be in the same split, and their assignment to splits."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.data.catalog import Item
from tltool.data.duplicates.find_duplicates import Cluster, DisjointSets
from tltool.errors import DataError


@dataclass(frozen=True)
class SplitGroup:
    """Items that must be in the same split.

    Attributes:
        name: of the group, or a name for the content of duplicates; empty for a single image.
        position: pseudo-random number in [0, 1), a hash of the seed and of the content or group.
        members: positions of the items.
        labels: their classes.
    """

    name: str
    position: float
    members: tuple[int, ...]
    labels: frozenset[str]


Bounds = Mapping[str, tuple[float, float]]


def make_split_groups(
    items: Sequence[Item],
    free: Sequence[int],
    *,
    seed: int,
    clusters: Sequence[Cluster] = (),
    salt: str = "",
) -> list[SplitGroup]:
    """Join the items at ``free`` by content, group and cluster, transitively.

    Args:
        items: all items.
        free: positions of the items to join; clusters are joined among these only.
        seed: of the random positions.
        clusters: near duplicates, by position in ``items``.
        salt: gives other random positions with the same seed.
    """
    sets, chosen = DisjointSets(len(items)), set(free)
    first: dict[str, int] = {}
    for index in free:
        for key in _keys(items[index]):
            sets.join(first.setdefault(key, index), index)
    for cluster in clusters:
        inside = [index for index in cluster.members if index in chosen]
        for index in inside[1:]:
            sets.join(inside[0], index)
    joined: dict[int, list[int]] = defaultdict(list)
    for index in free:
        joined[sets.find(index)].append(index)
    return [_split_group(items, members, f"{salt}{seed}") for members in joined.values()]


def assign(groups: Sequence[SplitGroup], bounds: Bounds) -> list[str]:
    """Return the split of each group: the one whose interval contains the group's position.

    In a class that would get no image in a split, the nearest group is moved there.

    Args:
        groups: to assign.
        bounds: interval of [0, 1) of each split; together they cover it.

    Raises:
        DataError: a class has fewer groups than there are splits, or shares its groups with other
            classes so that none can be moved to a split.
    """
    _check_enough(groups, list(bounds))
    splits = [_split_at(group.position, bounds) for group in groups]
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        for label in group.labels:
            of_class[label].append(index)
    counts = Counter((splits[i], label) for label, indices in of_class.items() for i in indices)
    for label in sorted(of_class):
        _ensure_every_class(label, of_class[label], groups, splits, counts, bounds)
    return splits


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


def _split_at(position: float, bounds: Bounds) -> str:
    return next(name for name, (low, high) in bounds.items() if low <= position < high)


def _keys(item: Item) -> list[str]:
    group = [] if item.group is None else [f"group {item.group}"]
    return [*group, f"sha256 {item.sha256 or item.path}"]


def _split_group(items: Sequence[Item], members: list[int], salt: str) -> SplitGroup:
    # "group …" sorts before "sha256 …": a group keeps its position when it gains an image.
    key = min(key for index in members for key in _keys(items[index]))
    digest = hashlib.sha256(f"{salt}|{key}".encode(errors="surrogateescape")).digest()
    position = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a float, below 1
    kind, _, value = key.partition(" ")
    name = value if kind == "group" else f"duplicates {value[:12]}" if len(members) > 1 else ""
    return SplitGroup(
        name, position, tuple(members), frozenset(items[index].label for index in members)
    )


def _ensure_every_class(
    label: str,
    members: Sequence[int],
    groups: Sequence[SplitGroup],
    splits: list[str],
    counts: Counter[tuple[str, str]],
    bounds: Bounds,
) -> None:
    """Move one group of ``label`` to each split that has none, the nearest one.

    Args:
        label: a class.
        members: positions of its groups.
        groups: all groups.
        splits: the split of each group; changed in place.
        counts: number of groups of each (split, class); changed in place.
        bounds: interval of [0, 1) of each split.
    """
    for name, (low, high) in bounds.items():
        if counts[name, label]:
            continue
        # every class of a group must keep another group in the split that it leaves
        movable = [
            index
            for index in members
            if all(counts[splits[index], each] > 1 for each in groups[index].labels)
        ]
        if not movable:
            raise DataError(
                f"no image of class {label!r} is left for {name}, because duplicates and groups"
                " must stay in one split",
                hint="add images to this class, or use fewer splits",
            )
        nearest = min(movable, key=lambda index: _distance(groups[index].position, low, high))
        for each in groups[nearest].labels:
            counts[splits[nearest], each] -= 1
            counts[name, each] += 1
        splits[nearest] = name


def _distance(position: float, low: float, high: float) -> float:
    return max(low - position, position - high, 0.0)
