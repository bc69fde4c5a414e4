"""Training, validation and test: decided by content, so that adding photos moves no other.

A photo's place follows from a hash of the seed and its bytes alone: its number in [0, 1) falls
below the test fraction, below test + validation, or above. That is stratified in expectation in
every class. Only a class that would get nothing in a split has its nearest photo moved there.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import SPLIT_NAMES, Catalog, Item, SplitName
from tltool.errors import DataError

_COLUMNS = ("path", "label", "split", "sha256")


@dataclass(frozen=True)
class Split:
    """The split of every item of a catalog: ``names`` runs parallel to ``catalog.items``."""

    names: tuple[SplitName, ...]

    def indices(self, name: SplitName) -> NDArray[np.int64]:
        """Return the positions of the items of one split: int64 [n], ascending."""
        return np.flatnonzero([given == name for given in self.names]).astype(np.int64)


@dataclass(frozen=True)
class SplitRow:
    """One line of ``split.csv``; ``path`` is relative to the photos where it lies inside."""

    path: Path
    label: str
    split: SplitName
    sha256: str


@dataclass(frozen=True)
class _Unit:
    """Items that must stay together: the same content, or the same group."""

    place: float
    members: tuple[int, ...]
    labels: frozenset[str]


Bounds = Mapping[SplitName, tuple[float, float]]


def make_split(
    catalog: Catalog, *, validation_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Split a catalog, respecting the splits that its source gave.

    With no given splits, all three are drawn (test only for a fraction above 0). With a given
    test set, validation is drawn from the rest. With given training and validation sets nothing
    is drawn.

    Raises:
        DataError: a class has too few different images for the splits asked for.
    """
    given = {item.given_split for item in catalog.items}
    names: list[SplitName] = [item.given_split or "train" for item in catalog.items]
    if "validation" not in given:
        drawn = _bounds(validation_fraction, 0.0 if "test" in given else test_fraction)
        free = [i for i, item in enumerate(catalog.items) if item.given_split in (None, "train")]
        for index, name in _draw(catalog.items, free, drawn, seed).items():
            names[index] = name
    _check_every_class_has_training(catalog, names)
    return Split(names=tuple(names))


def _bounds(validation: float, test: float) -> Bounds:
    """Return the interval of [0, 1) of each split that is asked for, test first."""
    ends: dict[SplitName, tuple[float, float]] = {}
    if test > 0:
        ends["test"] = (0.0, test)
    if validation > 0:
        ends["validation"] = (test, test + validation)
    ends["train"] = (test + validation, 1.0)
    return ends


def _draw(
    items: Sequence[Item], free: Sequence[int], bounds: Bounds, seed: int
) -> dict[int, SplitName]:
    units = _units(items, free, seed)
    _check_enough(items, units, bounds)
    chosen = [_interval(unit.place, bounds) for unit in units]
    for label in sorted({label for unit in units for label in unit.labels}):
        _mend(label, units, chosen, bounds)
    return {index: name for unit, name in zip(units, chosen, strict=True) for index in unit.members}


def _interval(place: float, bounds: Bounds) -> SplitName:
    return next(name for name, (low, high) in bounds.items() if low <= place < high)


def _units(items: Sequence[Item], free: Sequence[int], seed: int) -> list[_Unit]:
    """Join items by content and by group, transitively, and place each of these units."""
    parent = {index: index for index in free}

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[str, int] = {}
    for index in free:
        for key in _keys(items[index]):
            parent[find(index)] = find(first.setdefault(key, index))
    joined: dict[int, list[int]] = defaultdict(list)
    for index in free:
        joined[find(index)].append(index)
    return [_unit(items, members, seed) for members in joined.values()]


def _keys(item: Item) -> list[str]:
    group = [] if item.group is None else [f"group {item.group}"]
    return [*group, f"sha256 {item.sha256 or item.path}"]


def _unit(items: Sequence[Item], members: list[int], seed: int) -> _Unit:
    # "group …" sorts before "sha256 …": a group keeps its place when it gains an image.
    key = min(key for index in members for key in _keys(items[index]))
    digest = hashlib.sha256(f"{seed}|{key}".encode(errors="surrogateescape")).digest()
    place = (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # exact in a float, below 1
    return _Unit(place, tuple(members), frozenset(items[index].label for index in members))


def _check_enough(items: Sequence[Item], units: Sequence[_Unit], bounds: Bounds) -> None:
    count = {label: 0 for label in sorted({items[i].label for unit in units for i in unit.members})}
    for unit in units:
        for label in unit.labels:
            count[label] += 1
    few = [f"{label!r} has {n}" for label, n in count.items() if n < len(bounds)]
    if few:
        wanted = " and ".join(name for name in SPLIT_NAMES if name in bounds)
        raise DataError(
            f"every class needs at least {len(bounds)} different images, one each for {wanted};"
            f" {', '.join(few)}",
            hint="add photos to these classes, or remove their folders",
        )


def _mend(label: str, units: Sequence[_Unit], chosen: list[SplitName], bounds: Bounds) -> None:
    """Give ``label`` one unit in each split that has none, at the cost of the fewest moves."""
    for name, (low, high) in bounds.items():
        if any(label in unit.labels and chosen[i] == name for i, unit in enumerate(units)):
            continue
        movable = [
            index
            for index, unit in enumerate(units)
            if label in unit.labels and _can_leave(index, units, chosen)
        ]
        if not movable:
            raise DataError(
                f"no image of class {label!r} is left for the {name} split, because its"
                " duplicates or groups must stay together",
                hint="add photos to this class",
            )
        nearest = min(movable, key=lambda index: _distance(units[index].place, low, high))
        chosen[nearest] = name


def _can_leave(index: int, units: Sequence[_Unit], chosen: Sequence[SplitName]) -> bool:
    """Tell whether every class of a unit keeps another unit in the split that it would leave."""
    others = [
        unit.labels
        for other, unit in enumerate(units)
        if other != index and chosen[other] == chosen[index]
    ]
    return all(any(label in labels for labels in others) for label in units[index].labels)


def _distance(place: float, low: float, high: float) -> float:
    return max(low - place, place - high, 0.0)


def _check_every_class_has_training(catalog: Catalog, names: Sequence[SplitName]) -> None:
    trained = {
        item.label for item, name in zip(catalog.items, names, strict=True) if name == "train"
    }
    missing = [repr(name) for name in catalog.class_names if name not in trained]
    if missing:
        raise DataError(
            f"no readable training image is left of {', '.join(missing)}",
            hint="add photos of these classes to the training folder",
        )


def write_split(path: Path, catalog: Catalog, split: Split) -> None:
    """Write ``split.csv``: path (relative to the photos), label, split, sha256; UTF-8."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for item, name in zip(catalog.items, split.names, strict=True):
            writer.writerow([shown_path(item.path, catalog.root), item.label, name, item.sha256])


def shown_path(path: Path, root: Path) -> str:
    """Return how split.csv names a file: relative to the photos where it lies inside."""
    return (path.relative_to(root) if path.is_relative_to(root) else path.absolute()).as_posix()


def read_split(path: Path) -> tuple[SplitRow, ...]:
    """Read what ``write_split`` wrote.

    Raises:
        DataError: the file is missing or is no ``split.csv``.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return tuple(_row(row) for row in csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, ValueError):
        raise DataError(f"{path} is not a split.csv ({', '.join(_COLUMNS)})") from None


def _row(row: Mapping[str, str]) -> SplitRow:
    if row["split"] not in SPLIT_NAMES:
        raise ValueError(row["split"])
    return SplitRow(Path(row["path"]), row["label"], row["split"], row["sha256"])
