"""Folders of images with a table of their labels beside them.

Known are ``metadata.jsonl`` and ``metadata.csv`` of Hugging Face (with the columns ``file_name``
and ``label``), also one in each split folder, and ``labels.csv``. Source:
https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.listing import Listing, listed, split_named
from tltool.data.sources.tables.file_index import image_files, is_image_name
from tltool.data.sources.tables.path_table import list_table
from tltool.data.sources.tables.table_rows import open_table
from tltool.errors import DataError, counted
from tltool.events import Observer, SilentObserver
from tltool.recipe.source_text import PARQUET, WDS

_METADATA = ("metadata.jsonl", "metadata.csv")
_LABELS = ("labels.csv", "labels.tsv", "labels.jsonl")
_SCANNED = 10_000  # rows of JSONL that are read to find a label


def list_labelled_folder(root: Path, observer: Observer) -> Listing | None:
    """List a folder whose labels are in a table beside the images; None if it is not such a folder.

    Args:
        root: the folder, or one with train, validation and test folders that have a table each.
        observer: receives notes about the table.

    Raises:
        DataError: there are two such tables, or the table is invalid.
    """
    tables = _tables(root, observer)
    if not tables:
        _reject_samples(root)
        return None
    parts = [(list_table_of(table, observer), split) for table, split in tables.items()]
    items: list[Item] = []
    for part, split in parts:
        items += [replace(i, given_split=split or i.given_split) for i in part]
    items = _with_folder_splits(root, items)
    listed_files = {os.path.normpath(item.path) for item in items}
    stray = tuple(
        root / name
        for name in image_files(root)
        if os.path.normpath(root / name) not in listed_files
    )
    if stray:
        names = listed([path.relative_to(root).as_posix() for path in stray], 3)
        count = counted(len(stray), f"image of {root} is", f"images of {root} are")
        observer.on_message(f"{count} not in its table: {names}")
    return Listing(source=str(root), root=root, items=tuple(items), stray=stray)


def _reject_samples(root: Path) -> None:
    """Reject a folder of Parquet files or WebDataset samples, which have a notation of their own.

    Raises:
        DataError: names the notation.
    """
    places = [root, *_folders(root)]
    names = [path.name.lower() for place in places for path in _entries(place)]
    shards = [name for name in names if name.endswith((".parquet", ".tar"))]
    if shards and not _has_images(root):
        prefix = PARQUET if shards[0].endswith(".parquet") else WDS
        hint = f"samples in Parquet files or WebDataset archives: {prefix}{root}"
        if prefix == WDS:
            hint += "; an archive of class folders: give the archive itself, or extract it"
        raise DataError(f"{root} has no image files, but {shards[0]}", hint=hint)
    own = {path.name.partition(".")[0] for path in _entries(root) if is_image_name(path.name)}
    labels = {path.stem for path in _entries(root) if path.suffix.lower() == ".cls"}
    if own & labels:
        raise DataError(
            f"{root} has images with their labels in .cls files, the format of WebDataset",
            hint=f"give the tar archive as {WDS}PATH",
        )


def list_table_of(path: Path, observer: Observer) -> Sequence[Item]:
    """List the images of a table of labels, and report that it is used."""
    observer.on_message(f"the labels are read from {path}")
    with open_table(path) as table:
        return list_table(table, labelled=True, observer=observer).items


def _tables(root: Path, observer: Observer) -> Mapping[Path, SplitName | None]:
    """Return the tables that have the labels, with the split of their folder.

    A validation or test folder without one is left out; its images are reported.
    """
    if table := _table_in(root, observer):
        return {table: None}
    found: dict[Path, SplitName | None] = {}
    for folder in _folders(root):
        split = split_named(folder.name)
        if split and (table := _table_in(folder, observer, required=split == "train")):
            found[table] = split
    return found if "train" in found.values() else {}


def _table_in(folder: Path, observer: Observer, *, required: bool = True) -> Path | None:
    """Return the table of the labels of the images in a folder, or None.

    Where the images are in class folders too, the table must say more than these. If ``required``,
    metadata without labels is an error.
    """
    names = {path.name for path in _entries(folder) if not os.path.isdir(path)}  # noqa: PTH112
    metadata = [folder / name for name in _METADATA if name in names]
    labels = [folder / name for name in _LABELS if name in names]
    if not metadata and not labels:
        return None
    has_classes = _has_class_folders(folder)
    for tables, columns in ((metadata, ("label",)), (labels, ("label", "path"))):
        tables = [table for table in tables if _has_column(table, columns)]
        if len(tables) > 1:
            raise DataError(
                f"{folder} has two tables of labels: {listed([table.name for table in tables])}",
                hint="keep one of them, or give it as the data source",
            )
        if tables and (not has_classes or _adds_labels(tables[0], observer)):
            return tables[0]
    if required and metadata and not has_classes and _has_images(folder):
        raise DataError(
            f"{metadata[0]} has no column 'label', and the images are not in class folders",
            hint="add a column 'label' with one class per image; texts and boxes are no labels",
        )
    return None


def _has_column(table: Path, names: tuple[str, ...]) -> bool:
    """Return whether a table has one of the columns; an invalid one is reported when it is read."""
    try:
        with open_table(table) as opened:
            if opened.columns:
                return not set(names).isdisjoint(opened.columns)
            rows = (row for _, row in islice(opened.rows, _SCANNED))
            return any(
                isinstance(row, Mapping) and not row.keys().isdisjoint(names) for row in rows
            )
    except DataError:
        return True


def _adds_labels(table: Path, observer: Observer) -> bool:
    """Return whether a valid table has other labels than the folders of its images."""
    try:
        with open_table(table) as opened:
            items = list_table(opened, labelled=True, observer=SilentObserver()).items
    except DataError as error:
        observer.on_message(
            f"the classes are the folders, because a table cannot be used: {error.message}",
            level="warning",
        )
        return False
    return any(item.label != item.path.parent.name for item in items)


def _has_class_folders(folder: Path) -> bool:
    """Return whether images are in several folders that are not splits, or so in a split folder."""
    folders = _folders(folder)
    splits = [each for each in folders if split_named(each.name)]
    below = [each for each in folders if each not in splits]
    return sum(map(_has_images, below)) > 1 or any(map(_has_class_folders, splits))


def _entries(folder: Path) -> list[Path]:
    """Return the visible entries; none of a folder that cannot be read, which is reported later."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]  # noqa: PTH208
    except OSError:
        return []


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if os.path.isdir(path)]  # noqa: PTH112


def _has_images(folder: Path) -> bool:
    return next(image_files(folder), None) is not None


def _with_folder_splits(root: Path, items: list[Item]) -> list[Item]:
    """Return the items with the splits of their folders, if all are in several split folders."""
    if any(item.given_split for item in items):
        return items
    splits = [
        split_named(item.path.relative_to(root).parts[0])
        if item.path.is_relative_to(root)
        else None
        for item in items
    ]
    if None in splits or "train" not in splits or len(set(splits)) < 2:
        return items
    return [replace(item, given_split=s) for item, s in zip(items, splits, strict=True)]
