"""Training, validation and test: decided by content, so that adding images moves no other.

An image's place follows from a hash of the seed and its bytes alone: its number in [0, 1) falls
below the test fraction, below test + validation, or above. That is stratified in expectation in
every class. Nothing that remembers no earlier split can be nearer to the fractions and still never
move an image: where an image goes must not depend on what others there are.

Three things move an image all the same. A class that would get nothing in a split has its nearest
image moved there. Near duplicates share a place, that of one of them: a new near duplicate can
bring another place to those that it joins. And so can an image that joins a group.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import SPLIT_NAMES, Catalog, SplitName
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.splits.split_groups import Bounds, placed, split_groups
from tltool.errors import DataError

COLUMNS = ("path", "label", "split", "group", "fold", "sha256")
LISTED = COLUMNS[:-1]
"""Of a table that ``tltool data split`` writes."""
_READ = ("path", "label", "split", "sha256")


@dataclass(frozen=True)
class Split:
    """The split of every item of a catalog.

    Attributes:
        names: parallel to ``catalog.items``.
        groups: what each item stays together with: its group, or a name for its copies and near
            copies; empty where it is alone, or where its source gave the split.
        folds: part of the cross-validation, from 0; None for test images; empty without folds.
    """

    names: tuple[SplitName, ...]
    groups: tuple[str, ...]
    folds: tuple[int | None, ...] = ()

    def indices(self, name: SplitName) -> NDArray[np.int64]:
        """Return the positions of the items of one split: int64 [n], ascending."""
        return np.flatnonzero([given == name for given in self.names]).astype(np.int64)


@dataclass(frozen=True)
class SplitRow:
    """One line of ``split.csv``; ``path`` is relative to the images where it lies inside."""

    path: Path
    label: str
    split: SplitName
    sha256: str


def make_split(
    catalog: Catalog,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    clusters: Sequence[Cluster] = (),
) -> Split:
    """Split a catalog, respecting the splits that its source gave.

    With no given splits, all three are drawn (test only for a fraction above 0). With a given
    test set, validation is drawn from the rest. With given training and validation sets nothing
    is drawn.

    Args:
        catalog: audited images.
        validation_fraction: share of all images, 0 for no validation part.
        test_fraction: share of all images, 0 for no test part.
        seed: of the places.
        clusters: near duplicates, which stay together, by position in ``catalog.items``.

    Raises:
        DataError: a class has too few different images for the splits asked for.
    """
    given = {item.given_split for item in catalog.items}
    names: list[SplitName] = [item.given_split or "train" for item in catalog.items]
    groups = [item.group or "" for item in catalog.items]
    if "validation" not in given:
        drawn = _bounds(validation_fraction, 0.0 if "test" in given else test_fraction)
        free = [i for i, item in enumerate(catalog.items) if item.given_split in (None, "train")]
        units = split_groups(catalog.items, free, seed=seed, clusters=clusters)
        chosen = placed(units, drawn)
        for unit, name in zip(units, chosen, strict=True):
            for index in unit.members:
                names[index], groups[index] = cast(SplitName, name), unit.name
    _check_every_class_has_training(catalog, names)
    return Split(names=tuple(names), groups=tuple(groups))


def with_folds(
    catalog: Catalog, split: Split, count: int, *, seed: int, clusters: Sequence[Cluster] = ()
) -> Split:
    """Return a split whose images, test aside, are divided into ``count`` folds, also by content.

    Raises:
        DataError: a class has too few different images.
    """
    free = [index for index, name in enumerate(split.names) if name != "test"]
    units = split_groups(catalog.items, free, seed=seed, clusters=clusters, salt="fold")
    bounds = {f"fold {n}": (n / count, (n + 1) / count) for n in range(count)}
    chosen = placed(units, bounds)
    folds: list[int | None] = [None] * len(catalog)
    groups = list(split.groups)
    for unit, name in zip(units, chosen, strict=True):
        for index in unit.members:
            folds[index], groups[index] = int(name.removeprefix("fold ")), unit.name
    return replace(split, groups=tuple(groups), folds=tuple(folds))


def given_folds(catalog: Catalog, split: Split) -> Split:
    """Return a split with the folds that the source gave.

    Raises:
        DataError: it gave none, not to all images, or only one.
    """
    folds = tuple(
        None if name == "test" else item.fold
        for item, name in zip(catalog.items, split.names, strict=True)
    )
    known = {fold for fold in folds if fold is not None}
    missing = sum(f is None and n != "test" for f, n in zip(folds, split.names, strict=True))
    if missing or len(known) < 2:
        told = f"{missing} images are in no fold" if known and missing else "there are no folds"
        raise DataError(
            f"{catalog.root}: {told}",
            hint="give a table with a column fold, or have folds drawn: --fold 0/5",
        )
    return replace(split, folds=folds)


def held_out(catalog: Catalog, split: Split, fold: int) -> Split:
    """Return a split with folds whose validation part is fold ``fold``, the other folds training.

    Raises:
        DataError: there is no such fold, or a class is only in it.
    """
    known = sorted({given for given in split.folds if given is not None})
    if fold not in known:
        raise DataError(f"there is no fold {fold}; the folds are {known[0]} to {known[-1]}")
    names: list[SplitName] = [
        name if name == "test" else ("validation" if given == fold else "train")
        for name, given in zip(split.names, split.folds, strict=True)
    ]
    _check_every_class_has_training(catalog, names)
    return replace(split, names=tuple(names))


def _bounds(validation: float, test: float) -> Bounds:
    """Return the interval of [0, 1) of each split that is asked for, test first."""
    ends: dict[str, tuple[float, float]] = {}
    if test > 0:
        ends["test"] = (0.0, test)
    if validation > 0:
        ends["validation"] = (test, test + validation)
    ends["train"] = (test + validation, 1.0)
    return ends


def _check_every_class_has_training(catalog: Catalog, names: Sequence[SplitName]) -> None:
    trained = {
        item.label for item, name in zip(catalog.items, names, strict=True) if name == "train"
    }
    missing = [repr(name) for name in catalog.class_names if name not in trained]
    if missing:
        raise DataError(
            f"no readable training image is left of {', '.join(missing)}",
            hint="add images of these classes to the training folder",
        )


def write_split(
    path: Path,
    catalog: Catalog,
    split: Split,
    *,
    root: Path | None = None,
    digests: bool = True,
) -> None:
    """Write ``split.csv``: path, label, split, group, fold, sha256; UTF-8.

    Args:
        path: the file.
        catalog: the images.
        split: their split.
        root: what paths inside of it are relative to; by default the folder of the images.
        digests: False leaves out sha256, which ``read_split`` needs and a table of images does not.
    """
    folds = split.folds or (None,) * len(catalog)
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS if digests else LISTED)
        for item, name, group, fold in zip(
            catalog.items, split.names, split.groups, folds, strict=True
        ):
            shown = shown_path(item.path, root or catalog.root)
            row = [shown, item.label, name, group, fold, item.sha256]
            writer.writerow(row if digests else row[:-1])


def shown_path(path: Path, root: Path) -> str:
    """Return how split.csv names a file: relative to the images where it lies inside."""
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
        raise DataError(f"{path} is not a split.csv ({', '.join(_READ)})") from None


def _row(row: Mapping[str, str]) -> SplitRow:
    if row["split"] not in SPLIT_NAMES:
        raise ValueError(row["split"])
    return SplitRow(Path(row["path"]), row["label"], row["split"], row["sha256"])
