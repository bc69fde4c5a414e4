"""What a split must not tear apart: copies, near copies and groups; and where each belongs."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tltool.data.catalog import Item
from tltool.data.duplicates.find_duplicates import Cluster, Groups
from tltool.errors import DataError


@dataclass(frozen=True)
class SplitGroup:
    """Items that must stay together.

    Attributes:
        name: of the group or, of several files, of their content; empty for a single one.
        place: in [0, 1), a function of the seed and the unit's content or group.
        members: positions of the items.
        labels: their classes.
    """

    name: str
    place: float
    members: tuple[int, ...]
    labels: frozenset[str]


Bounds = Mapping[str, tuple[float, float]]


def split_groups(
    items: Sequence[Item],
    free: Sequence[int],
    *,
    seed: int,
    clusters: Sequence[Cluster] = (),
    salt: str = "",
) -> list[SplitGroup]:
    """Join the items at ``free`` by content, group and cluster, transitively, and place each unit.

    Args:
        items: all items.
        free: positions of those to join; clusters are joined among these only.
        seed: of the places.
        clusters: near duplicates, by position in ``items``.
        salt: gives other places from the same seed.
    """
    groups, chosen = Groups(len(items)), set(free)
    first: dict[str, int] = {}
    for index in free:
        for key in _keys(items[index]):
            groups.join(first.setdefault(key, index), index)
    for cluster in clusters:
        inside = [index for index in cluster.members if index in chosen]
        for index in inside[1:]:
            groups.join(inside[0], index)
    joined: dict[int, list[int]] = defaultdict(list)
    for index in free:
        joined[groups.find(index)].append(index)
    return [_unit(items, members, f"{salt}{seed}") for members in joined.values()]


def placed(units: Sequence[SplitGroup], bounds: Bounds) -> list[str]:
    """Return the part of each unit: that whose bounds hold its place, mended for small classes.

    Args:
        units: what to divide.
        bounds: interval of [0, 1) of each part; they cover it.

    Raises:
        DataError: a class has fewer units than there are parts, or its units hang together with
            those of other classes so that none is left for a part.
    """
    _check_enough(units, list(bounds))
    chosen = [_interval(unit.place, bounds) for unit in units]
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        for label in unit.labels:
            of_class[label].append(index)
    counts = Counter((chosen[i], label) for label, found in of_class.items() for i in found)
    for label in sorted(of_class):
        _mend(label, of_class[label], units, chosen, counts, bounds)
    return chosen


def _check_enough(units: Sequence[SplitGroup], parts: Sequence[str]) -> None:
    count = Counter(label for unit in units for label in unit.labels)
    few = [f"{label!r} has {count[label]}" for label in sorted(count) if count[label] < len(parts)]
    if few:
        wanted = " and ".join(reversed(parts)) if len(parts) < 4 else f"{len(parts)} folds"
        grouped = any(unit.name for unit in units)
        counted = " (copies and groups count as one)" if grouped else ""
        raise DataError(
            f"every class needs at least {len(parts)} different images{counted}, one each for"
            f" {wanted}; {', '.join(few)}",
            hint="add images to these classes, leave them out, or ask for fewer parts",
        )


def _interval(place: float, bounds: Bounds) -> str:
    return next(name for name, (low, high) in bounds.items() if low <= place < high)


def _keys(item: Item) -> list[str]:
    group = [] if item.group is None else [f"group {item.group}"]
    return [*group, f"sha256 {item.sha256 or item.path}"]


def _unit(items: Sequence[Item], members: list[int], salt: str) -> SplitGroup:
    # "group …" sorts before "sha256 …": a group keeps its place when it gains an image.
    key = min(key for index in members for key in _keys(items[index]))
    digest = hashlib.sha256(f"{salt}|{key}".encode(errors="surrogateescape")).digest()
    place = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a float, below 1
    kind, _, value = key.partition(" ")
    name = value if kind == "group" else f"copies {value[:12]}" if len(members) > 1 else ""
    return SplitGroup(
        name, place, tuple(members), frozenset(items[index].label for index in members)
    )


def _mend(
    label: str,
    members: Sequence[int],
    units: Sequence[SplitGroup],
    chosen: list[str],
    counts: Counter[tuple[str, str]],
    bounds: Bounds,
) -> None:
    """Give ``label`` one unit in each part that has none, at the cost of the fewest moves.

    Args:
        label: a class.
        members: positions of its units.
        units: all units.
        chosen: the part of each, which is changed.
        counts: how many units of a (part, class) there are, which is changed.
        bounds: interval of [0, 1) of each part.
    """
    for name, (low, high) in bounds.items():
        if counts[name, label]:
            continue
        # every class of a unit must keep another one in the part that it leaves
        movable = [
            index
            for index in members
            if all(counts[chosen[index], other] > 1 for other in units[index].labels)
        ]
        if not movable:
            raise DataError(
                f"no image of class {label!r} is left for {name}, because its"
                " duplicates or groups must stay together",
                hint="add images to this class, or ask for fewer parts",
            )
        nearest = min(movable, key=lambda index: _distance(units[index].place, low, high))
        for other in units[nearest].labels:
            counts[chosen[nearest], other] -= 1
            counts[name, other] += 1
        chosen[nearest] = name


def _distance(place: float, low: float, high: float) -> float:
    return max(low - place, place - high, 0.0)
