"""Training, validation and test splits, stratified by count and assigned by content.

The images of each class are sorted by a pseudo-random number in [0, 1), a hash of the seed and of
their bytes; the first are test images, the next validation images, the rest training images. So
each class is within one image of its share in each split, renaming files moves no image, and at
each of the two cuts a new image moves at most one other image, the nearest one of its class.

Near duplicates and the images of one group stay in one split, where classes are then as near to
their shares as whole groups allow; see ``stratified_assignment``. A new image that joins groups can
move them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import SPLIT_NAMES, Catalog, SplitName, digest_of_labels
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.path_as_text import text_of_path
from tltool.data.splits.split_groups import make_split_groups
from tltool.data.splits.stratified_assignment import Shares, assign
from tltool.errors import DataError, some_of
from tltool.runs.csv_cells import CsvWriter, csv_rows
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.storage.address import address_of_copy
from tltool.storage.durable import replaced_file

COLUMNS = ("path", "label", "split", "group", "fold", "sha256")
TABLE_COLUMNS = COLUMNS[:-1]
"""Of a table that ``tltool data split`` writes."""
_READ = ("path", "label", "split", "sha256")


@dataclass(frozen=True)
class Split:
    """The split of every item of a catalog.

    Attributes:
        names: parallel to ``catalog.items``.
        groups: of each item: its group, or a name for a cluster of duplicates; empty for a single
            image, or where the source defines the split.
        folds: of the cross-validation, from 0; None for test images; empty without folds.
    """

    names: tuple[SplitName, ...]
    groups: tuple[str, ...]
    folds: tuple[int | None, ...] = ()

    def indices(self, name: SplitName) -> NDArray[np.int64]:
        """Return the positions of the items of one split: int64 [n], ascending."""
        return np.flatnonzero([each == name for each in self.names]).astype(np.int64)


@dataclass(frozen=True)
class SplitRow:
    """One row of ``split.csv``; ``path`` is relative to the folder of the images if inside it."""

    path: Path
    label: str
    split: SplitName
    sha256: str
    group: str = ""


def make_split(
    catalog: Catalog,
    *,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    clusters: Sequence[Cluster] = (),
) -> Split:
    """Split a catalog, keeping the splits that its source defines.

    If the source defines no splits, all three are drawn (test only for a fraction above 0). If it
    defines a test set, validation is drawn from the rest. If it defines training and validation
    sets, nothing is drawn.

    Args:
        catalog: audited images.
        validation_fraction: share of all images, 0 for no validation split.
        test_fraction: share of all images, 0 for no test split.
        seed: of the random positions.
        clusters: near duplicates, which stay in one split, by position in ``catalog.items``.

    Raises:
        DataError: a class has too few different images for the splits.
    """
    columns = catalog.columns
    given, source_splits = columns.rows["given_split"], columns.given_splits()
    names: list[SplitName] = ["train" if code < 0 else SPLIT_NAMES[code] for code in given.tolist()]
    groups = ["" if c < 0 else columns.group_names[c] for c in columns.rows["group"].tolist()]
    if "validation" not in source_splits:
        from_source = "test" in source_splits
        shares = _shares(validation_fraction, 0.0 if from_source else test_fraction)
        free = np.flatnonzero((given < 0) | (given == SPLIT_NAMES.index("train")))
        split_groups = make_split_groups(catalog.items, free, seed=seed, clusters=clusters)
        parts, drawn = assign(split_groups, shares).tolist(), list(shares)
        for index, group in split_groups.members():
            names[index] = cast(SplitName, drawn[parts[group]])
            groups[index] = split_groups.names[group]
    _check_every_class_has_training(catalog, names)
    return Split(names=tuple(names), groups=tuple(groups))


def with_folds(
    catalog: Catalog, split: Split, count: int, *, seed: int, clusters: Sequence[Cluster] = ()
) -> Split:
    """Return a split with ``count`` stratified folds, assigned by content; none for test images.

    Raises:
        DataError: a class has too few different images.
    """
    free = np.flatnonzero([name != "test" for name in split.names])
    split_groups = make_split_groups(catalog.items, free, seed=seed, clusters=clusters, salt="fold")
    shares = {f"fold {n}": 1 / count for n in range(count)}
    folds: list[int | None] = [None] * len(catalog)
    groups = list(split.groups)
    parts = assign(split_groups, shares).tolist()  # the position of a fold is its number
    for index, group in split_groups.members():
        folds[index], groups[index] = parts[group], split_groups.names[group]
    return replace(split, groups=tuple(groups), folds=tuple(folds))


def with_source_folds(catalog: Catalog, split: Split) -> Split:
    """Return a split with the folds that the source defines.

    Raises:
        DataError: it defines none, not for all images, or only one.
    """
    given = catalog.columns.rows["fold"].tolist()
    folds = tuple(
        None if name == "test" or fold < 0 else fold
        for fold, name in zip(given, split.names, strict=True)
    )
    known = {fold for fold in folds if fold is not None}
    missing = sum(f is None and n != "test" for f, n in zip(folds, split.names, strict=True))
    if missing or len(known) < 2:
        problem = f"{missing} images have no fold" if known and missing else "there are no folds"
        raise DataError(
            f"{catalog.root}: {problem}",
            hint="use a table with a column fold, or have folds drawn: --fold 0/5",
        )
    return replace(split, folds=folds)


def validate_on_fold(catalog: Catalog, split: Split, fold: int) -> Split:
    """Return a split with fold ``fold`` as the validation set, and the other folds for training.

    Raises:
        DataError: there is no such fold, or a class is only in it.
    """
    known = sorted({each for each in split.folds if each is not None})
    if fold not in known:
        raise DataError(f"there is no fold {fold}; the folds are {known[0]} to {known[-1]}")
    names: list[SplitName] = [
        name if name == "test" else ("validation" if each == fold else "train")
        for name, each in zip(split.names, split.folds, strict=True)
    ]
    _check_every_class_has_training(catalog, names)
    return replace(split, names=tuple(names))


def _shares(validation: float, test: float) -> Shares:
    """Return the share of each split, in the order of the positions: test first."""
    drawn = {"test": test, "validation": validation}
    return {
        **{name: share for name, share in drawn.items() if share > 0},
        "train": 1.0 - test - validation,
    }


def _check_every_class_has_training(catalog: Catalog, names: Sequence[SplitName]) -> None:
    trains = np.array([name == "train" for name in names], np.bool_)
    codes = np.unique(catalog.columns.rows["label"][trains]).tolist()
    trained = {catalog.columns.label_names[code] for code in codes}
    missing = [repr(name) for name in catalog.class_names if name not in trained]
    if missing:
        raise DataError(
            f"no readable training image for class {some_of(missing)}",
            hint="add training images of these classes",
        )


def write_split(
    path: Path,
    catalog: Catalog,
    split: Split,
    *,
    root: Path | None = None,
    digests: bool = True,
    addresses: Sequence[tuple[Path, str]] = (),
) -> None:
    """Write ``split.csv``: path, label, split, group, fold, sha256; UTF-8.

    Args:
        path: the file.
        catalog: the images.
        split: their split.
        root: paths inside this folder are relative to it; by default the folder of the images.
        digests: False omits sha256, which ``read_split`` needs and a table of images does not.
        addresses: as in ``Listing``: copies of objects are listed by the address of the object.
    """

    def shown(text: str) -> str:
        address = address_of_copy(Path(text), addresses) if addresses else None
        return address or _shown_text(text, inside)

    folds = split.folds or (None,) * len(catalog)
    inside = root or catalog.root
    # readers of CSV files remove blanks at the start of a cell without quotes
    has_blanks = any(shown(text).startswith((" ", "\t")) for text in catalog.columns.path_texts)
    with (
        replaced_file(path) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = CsvWriter(file, quoting=csv.QUOTE_ALL if has_blanks else csv.QUOTE_MINIMAL)
        writer.writerow(COLUMNS if digests else TABLE_COLUMNS)
        for item, name, group, fold in zip(
            catalog.items, split.names, split.groups, folds, strict=True
        ):
            row = [shown(text_of_path(item)), item.label, name, group, fold, item.sha256]
            writer.writerow(row if digests else row[:-1])


def _shown_text(text: str, root: Path) -> str:
    """Return what ``shown_path`` does, without a new ``Path`` for a file inside ``root``."""
    start = f"{root}/"
    return text[len(start) :] if text.startswith(start) else shown_path(Path(text), root)


def shown_path(path: Path, root: Path) -> str:
    """Return a path as in split.csv: relative to ``root`` if inside it, otherwise absolute."""
    return (path.relative_to(root) if path.is_relative_to(root) else path.absolute()).as_posix()


def read_split(path: Path) -> tuple[SplitRow, ...]:
    """Read a file written by ``write_split``.

    Raises:
        DataError: the file is missing or not a ``split.csv``.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return tuple(_row(row) for row in csv_rows(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, ValueError):
        raise DataError(
            f"{path} is not a split.csv (with the columns {', '.join(_READ)})"
        ) from None


def read_run_split(run: RunLayout) -> tuple[SplitRow, ...]:
    """Read the ``split.csv`` of a run and compare it with the manifest.

    Raises:
        DataError: the file is missing, or its images or labels are not those of the run.
    """
    rows = read_split(run.split)
    recorded = read_manifest(run.manifest).data_digest if run.manifest.is_file() else None
    if recorded and digest_of_labels((row.sha256, row.label) for row in rows) != recorded:
        raise DataError(
            f"{run.split} was changed or damaged: its images are not those of the run",
            hint="restore it from a copy",
        )
    return rows


def _row(row: Mapping[str, str]) -> SplitRow:
    if row["split"] not in SPLIT_NAMES:
        raise ValueError(row["split"])
    return SplitRow(
        Path(row["path"]), row["label"], row["split"], row["sha256"], row.get("group") or ""
    )
