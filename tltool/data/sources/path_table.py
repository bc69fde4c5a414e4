"""Lists the images of a table of paths: CSV, TSV or JSONL with path, label and more."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.table_columns import META, Problems, item_from_row
from tltool.data.sources.table_rows import Table
from tltool.data.splits.split import TABLE_COLUMNS
from tltool.errors import DataError, did_you_mean
from tltool.events import Observer

_HINT = "the first line names the columns: path,label and optionally split,group,weight,fold"


def list_table(table: Table, *, labelled: bool, observer: Observer) -> Listing:
    """List the images of a table of paths.

    Args:
        table: with the columns ``path`` and ``label``, and optionally ``split``, ``group``,
            ``weight`` and ``fold``. Paths are relative to the table's folder.
        labelled: False makes labels optional, for prediction.
        observer: receives notes about images outside that folder and about unused columns.

    Raises:
        DataError: columns, labels or files are missing, or files are listed twice; names them all.
    """
    path = table.path
    if table.columns:
        _check_columns(table, labelled=labelled)
    problems = Problems(path)
    items: list[Item] = []
    lines: dict[str, int] = {}
    columns = set(table.columns)
    for line, row in table.rows:
        cells = row if isinstance(row, Mapping) else dict(zip(table.columns, row, strict=True))
        columns |= cells.keys()
        name = cells.get("path", "")
        image = path.parent / name
        _check_file(name, image, line, lines, problems)
        items.append(item_from_row(image, cells, line=line, problems=problems, labelled=labelled))
    problems.check()
    _report_notes(table, items, columns - {"path", *META}, observer)
    return Listing(source=str(path), root=path.parent, items=tuple(items))


def _check_columns(table: Table, *, labelled: bool) -> None:
    required = ("path", "label") if labelled else ("path",)
    missing = [name for name in required if name not in table.columns]
    if missing:
        near = did_you_mean(missing[0], table.columns)
        raise DataError(
            f"{table.path} has no column {' and no column '.join(map(repr, missing))};"
            f" its columns are {listed(table.columns)}.{near}",
            hint=_HINT,
        )


def _check_file(
    name: str, image: Path, line: int, lines: dict[str, int], problems: Problems
) -> None:
    if not name:
        problems.add("the path is empty", f"line {line}")
        return
    if not os.path.isfile(image):  # noqa: PTH113  (Path.is_file raises on invalid names)
        problems.add("files are missing", f"{_printable(name)} in line {line}")
    first = lines.setdefault(os.path.normpath(image), line)
    if first != line:
        problems.add("files are listed twice", f"{_printable(name)} in lines {first} and {line}")


def _printable(name: str) -> str:
    return name[:200] if name.isprintable() else ascii(name[:200])


def _report_notes(table: Table, items: list[Item], unused: set[str], observer: Observer) -> None:
    path = table.path
    if unused:
        observer.on_message(
            f"columns of {path} that are not used in training, only as slices of the evaluation:"
            f" {listed(sorted(unused))}"
        )
    folder = os.path.normpath(path.parent.absolute())
    outside = sum(
        not Path(os.path.normpath(item.path.absolute())).is_relative_to(folder) for item in items
    )
    if outside and table.columns != TABLE_COLUMNS:  # in such a table it is intended
        observer.on_message(f"{outside} images of {path} are outside its folder")
