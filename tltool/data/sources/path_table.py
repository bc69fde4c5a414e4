"""A table of images: CSV, TSV or JSONL with path and label, and maybe more of each image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.table_columns import META, Problems, described_item
from tltool.data.sources.table_rows import Table
from tltool.data.splits.split import LISTED
from tltool.errors import DataError, did_you_mean
from tltool.events import Observer

_HINT = "its first line names the columns: path,label and maybe split,group,weight,fold"


def list_table(table: Table, *, labelled: bool, observer: Observer) -> Listing:
    """List the images that a table names.

    Args:
        table: with the columns ``path`` and ``label``, and maybe ``split``, ``group``, ``weight``
            and ``fold``. Paths are relative to the table's folder.
        labelled: False leaves labels alone, for prediction.
        observer: hears of images outside that folder and of columns that training does not use.

    Raises:
        DataError: columns are missing; or labels or files, or files are listed twice: all named.
    """
    path = table.path
    if table.columns:
        _check_columns(table, labelled=labelled)
    problems = Problems(path)
    items: list[Item] = []
    lines: dict[str, int] = {}
    others = set(table.columns)
    for line, row in table.rows:
        cells = row if isinstance(row, Mapping) else dict(zip(table.columns, row, strict=True))
        others |= cells.keys()
        name = cells.get("path", "")
        photo = path.parent / name
        _check_file(name, photo, line, lines, problems)
        items.append(described_item(photo, cells, line=line, problems=problems, labelled=labelled))
    problems.check()
    _tell(table, items, others - {"path", *META}, observer)
    return Listing(source=str(path), root=path.parent, items=tuple(items))


def _check_columns(table: Table, *, labelled: bool) -> None:
    wanted = ("path", "label") if labelled else ("path",)
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        near = did_you_mean(missing[0], table.columns)
        raise DataError(
            f"{table.path} has no column {' and no column '.join(map(repr, missing))};"
            f" its columns are {listed(table.columns)}.{near}",
            hint=_HINT,
        )


def _check_file(
    name: str, photo: Path, line: int, lines: dict[str, int], problems: Problems
) -> None:
    if not name:
        problems.note("the path is empty", f"line {line}")
        return
    if not os.path.isfile(photo):  # noqa: PTH113  (Path.is_file raises on names that cannot be)
        problems.note("files are missing", f"{_printable(name)} in line {line}")
    first = lines.setdefault(os.path.normpath(photo), line)
    if first != line:
        problems.note("files are listed twice", f"{_printable(name)} in lines {first} and {line}")


def _printable(name: str) -> str:
    return name[:200] if name.isprintable() else ascii(name[:200])


def _tell(table: Table, items: list[Item], others: set[str], observer: Observer) -> None:
    path = table.path
    if others:
        observer.on_message(
            f"columns of {path} that training does not use: {listed(sorted(others))};"
            " they slice the evaluation"
        )
    folder = os.path.normpath(path.parent.absolute())
    outside = sum(
        not Path(os.path.normpath(item.path.absolute())).is_relative_to(folder) for item in items
    )
    if outside and table.columns != LISTED:  # there they lie outside on purpose
        observer.on_message(f"{outside} images that {path} names lie outside its folder")
