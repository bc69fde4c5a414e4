"""Lists the images of a table of paths: CSV, TSV or JSONL with path, label and more."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.tables.class_columns import has_boxes, with_label_column
from tltool.data.sources.tables.column_names import ROW_NUMBERS, is_other_name
from tltool.data.sources.tables.path_repair import repair_paths
from tltool.data.sources.tables.path_spelling import why_missing
from tltool.data.sources.tables.table_columns import Problems, item_from_row, report_unused_columns
from tltool.data.sources.tables.table_labels import clean_labels
from tltool.data.sources.tables.table_rows import Table
from tltool.data.splits.split import TABLE_COLUMNS
from tltool.errors import DataError, counted, did_you_mean
from tltool.events import Observer
from tltool.storage.address import redacted

_LISTED_TWICE = "files are listed twice"
_TWO_LABELS = "files are listed with different labels"
_HINT = "the first line names the columns: path,label and optionally split,group,weight,fold"


def list_table(table: Table, *, labelled: bool, observer: Observer) -> Listing:
    """List the images of a table of paths.

    Args:
        table: with the columns ``path`` and ``label``, and optionally ``split``, ``group``,
            ``weight`` and ``fold``. Paths are relative to the table's folder.
        labelled: False makes labels optional, for prediction.
        observer: receives notes about repairs of paths and labels, images outside that folder and
            unused columns.

    Raises:
        DataError: columns, labels or files are missing, or files are listed twice; names them all.
    """
    path = table.path
    table = with_label_column(table) if labelled else table
    if table.columns:
        _check_columns(table, labelled=labelled)
    problems = Problems(path)
    names: list[tuple[int, str]] = []
    items: list[Item] = []
    has_row_numbers = False
    for line, row in table.rows:
        cells = (
            dict(row) if isinstance(row, Mapping) else dict(zip(table.columns, row, strict=True))
        )
        has_row_numbers |= _drop_row_numbers(cells)
        name = cells.get("path", "")
        names.append((line, name))
        image = path.parent / name
        items.append(item_from_row(image, cells, line=line, problems=problems, labelled=labelled))
    items = _with_files(path, items, names, problems, observer)
    if labelled and has_boxes(table.columns):
        _report_boxes(path, problems, observer)
    problems.check()
    _report_notes(table, items, observer)
    if has_row_numbers:
        observer.on_message(f"the row numbers in {path} are ignored")
    if labelled:
        items = list(clean_labels(str(path), items, observer))
    return Listing(source=str(path), root=path.parent, items=tuple(items))


def _report_boxes(path: Path, problems: Problems, observer: Observer) -> None:
    """Warn of a set for object detection, whose labels are those of boxes.

    Raises:
        DataError: images have several boxes.
    """
    if not problems.places.keys().isdisjoint((_LISTED_TWICE, _TWO_LABELS)):
        raise DataError(
            f"{path} has several boxes for one image: it is a set for object detection",
            hint="tltool classifies whole images: cut the boxes out, or write one label per image",
        )
    observer.on_message(
        f"{path} has boxes, which are not used: the whole image gets the label of its box",
        level="warning",
    )


def _drop_row_numbers(cells: dict[str, str]) -> bool:
    """Remove the columns of row numbers, and return whether they had values."""
    return any([cells.pop(name, "").strip() for name in ROW_NUMBERS])


def _with_files(
    table: Path,
    items: Sequence[Item],
    names: Sequence[tuple[int, str]],
    problems: Problems,
    observer: Observer,
) -> list[Item]:
    """Return the items with the files of repaired paths; missing ones are added to ``problems``."""
    files = _find_files(table, [name for _, name in names], observer)
    first: dict[str, tuple[int, str]] = {}
    repaired = []
    for item, (line, name) in zip(items, names, strict=True):
        image = table.parent / files[name] if name in files else item.path
        _check_file(name, replace(item, path=image), line, first, problems)
        repaired.append(replace(item, path=image) if name in files else item)
    return repaired


def _find_files(table: Path, names: Sequence[str], observer: Observer) -> Mapping[str, str]:
    """Return the files of paths that do not exist as written, if one repair finds them.

    Raises:
        DataError: several files can be meant.
    """
    missing = [name for name in dict.fromkeys(names) if name and not _exists(table.parent / name)]
    if not missing:
        return {}
    all_missing = len(missing) == len({name for name in names if name})
    repair = repair_paths(table.parent, missing, all_missing=all_missing)
    if repair.problem:
        raise DataError(
            f"{table}: {repair.problem}", hint="write the folder and the extension into the paths"
        )
    if len(repair.files) == len(missing):
        observer.on_message(f"{table}: {repair.summary}")
    return repair.files


def _check_columns(table: Table, *, labelled: bool) -> None:
    required = ("path", "label") if labelled else ("path",)
    missing = [name for name in required if name not in table.columns]
    if missing:
        near = did_you_mean(missing[0], table.columns)
        raise DataError(
            f"{table.path} has no column {' and no column '.join(map(repr, missing))};"
            f" its columns are {listed(table.names)}.{near}",
            hint=_rename_hint(table, missing[0]),
        )


def _rename_hint(table: Table, missing: str) -> str:
    candidates = [name for name in table.names if is_other_name(name, missing)]
    if len(candidates) > 1:
        return f"rename the one that is the {missing} to {missing!r}: {listed(candidates)}"
    return _HINT


def _check_file(
    name: str, item: Item, line: int, first: dict[str, tuple[int, str]], problems: Problems
) -> None:
    """Record a file that is missing or listed twice; ``first`` has its first line and label."""
    if not name:
        problems.add("the path is empty", f"line {line}")
        return
    if not _exists(item.path):
        problems.add(why_missing(name), f"{_printable(name)} in line {line}")
    line_before, label = first.setdefault(os.path.normpath(item.path), (line, item.label))
    lines = f"{_printable(name)} in lines {line_before} and {line}"
    if label != item.label:
        problems.add(_TWO_LABELS, f"{lines}: {label!r} and {item.label!r}")
    elif line_before != line:
        problems.add(_LISTED_TWICE, lines)


def _exists(image: Path) -> bool:
    return os.path.isfile(image)  # noqa: PTH113  (Path.is_file raises on invalid names)


def _printable(name: str) -> str:
    is_plain = name.isprintable() and name == name.strip()
    name = redacted(name)
    return name[:200] if is_plain else ascii(name[:200])


def _report_notes(table: Table, items: list[Item], observer: Observer) -> None:
    path = table.path
    for note in table.notes:
        observer.on_message(note)
    report_unused_columns(path, items, observer)
    folder = os.path.normpath(path.parent.absolute())
    outside = sum(
        not Path(os.path.normpath(item.path.absolute())).is_relative_to(folder) for item in items
    )
    if outside and table.columns != TABLE_COLUMNS:  # in such a table it is intended
        count = counted(outside, f"image of {path} is", f"images of {path} are")
        observer.on_message(f"{count} outside its folder")
