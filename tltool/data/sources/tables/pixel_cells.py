"""Tables with all pixels of an image in one cell, such as FER2013 (emotion, pixels, Usage)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from tltool.data.sources.tables.column_names import PIXEL_CELLS
from tltool.data.sources.tables.table_rows import Table
from tltool.errors import DataError

_FEWEST = 4
_SEPARATORS = re.compile(r"[\s,;]+")
_NUMBERS = re.compile(r"\s*[\[(]?\s*[0-9]+(\.0*)?([\s,;]+[0-9]+(\.0*)?)*[\s,;]*[\])]?\s*")
_USAGE = {"training": "train", "publictest": "validation", "privatetest": "test"}


def has_pixel_cells(table: Table) -> bool:
    """Return whether a table has a column whose cells are all pixels of an image."""
    return "path" not in table.columns and _position(table.columns) is not None


def with_pixel_columns(table: Table) -> Table:
    """Return a table of pixel cells as one with columns of pixels.

    The column ``usage`` of FER2013 becomes the split: PublicTest is the validation split,
    PrivateTest the test split.

    Raises:
        DataError: a cell is not a list of numbers, or has another number of them than the first;
            raised by the rows too.
    """
    position = _position(table.columns)
    assert position is not None
    first = next(table.rows, None)
    if first is None:
        raise DataError(f"{table.path} contains no images", hint="each line must be an image")
    count = len(_pixels(table, position, *first, fewest=_FEWEST))
    usage = table.columns.index("usage") if _has_usage(table.columns) else None
    columns = _columns(table.columns, position, count)
    notes = table.notes
    if usage is not None:
        columns = tuple("split" if name == "usage" else name for name in columns)
        notes = [*notes, f"the column 'usage' of {table.path} is read as the split"]
    rows = _expanded(table, chain([first], table.rows), position, count, usage)
    return replace(table, columns=columns, rows=rows, notes=notes)


def _has_usage(columns: Sequence[str]) -> bool:
    return "usage" in columns and "split" not in columns


def _position(columns: Sequence[str]) -> int | None:
    present = [n for n, name in enumerate(columns) if name in PIXEL_CELLS]
    return present[0] if len(present) == 1 else None


def _columns(columns: Sequence[str], position: int, count: int) -> tuple[str, ...]:
    pixels = (f"pixel{n}" for n in range(count))
    return (*columns[:position], *pixels, *columns[position + 1 :])


def _expanded(
    table: Table,
    rows: Iterator[tuple[int, object]],
    position: int,
    count: int,
    usage: int | None,
) -> Iterator[tuple[int, list[str]]]:
    for line, row in rows:
        pixels = _pixels(table, position, line, row)
        if len(pixels) != count:
            raise DataError(
                f"{table.path}, line {line}: {len(pixels)} pixels, but the first image has {count}",
                hint="all images of a table of pixels must have the same shape",
            )
        assert isinstance(row, list)
        cells = list(row)
        if usage is not None:
            cells[usage] = _USAGE.get(cells[usage].strip().lower(), cells[usage])
        yield line, [*cells[:position], *pixels, *cells[position + 1 :]]


def _pixels(table: Table, position: int, line: int, row: object, *, fewest: int = 1) -> list[str]:
    assert isinstance(row, list)
    text = row[position]
    if _NUMBERS.fullmatch(text):
        pixels = _SEPARATORS.split(text.strip().strip("[]()").strip(" ,;\t\n"))
        if len(pixels) >= fewest:
            return pixels
    raise DataError(
        f"{table.path}, line {line}: the pixels are {text[:40]!r}, not whole numbers from 0 to 255"
        " with blanks between them",
        hint=f"write all pixels of an image into {table.columns[position]!r}, such as 0 17 255 …",
    )
