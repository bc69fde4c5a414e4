"""The rows of a CSV or TSV: empty rows, cells without a column, and quotes that span rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tltool.data.sources.tables.table_header import Header
from tltool.errors import DataError
from tltool.runs.csv_cells import from_cell

_MOST_TEXTS = 64  # columns of a table of paths; pixels need no search for apostrophes
_QUOTE_HINT = 'write a quote inside of a text twice ("" for "), or remove it'


def row_cells(path: Path, header: Header, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not empty, parallel to ``header.columns``.

    Raises:
        DataError: a row has other columns than the header, or a quote spans several rows.
    """
    if header.first_row is not None:
        yield header.lines, header.first_row
    read: list[str] = []  # the lines of one row
    reader = csv.reader(_kept(lines, read), delimiter=header.separator, skipinitialspace=True)
    all_named = len(header.kept) == header.width
    for cells in _without_csv_errors(path, header, reader):
        last = reader.line_num + header.lines
        if len(read) > 1:
            _check_quotes(path, header, read, last)
        where = f"line {last}" if len(read) < 2 else f"lines {last - len(read) + 1} to {last}"
        read.clear()
        if not any(map(str.strip, cells)) or _is_header(header, cells):
            continue
        if len(cells) != header.width:
            cells = _fitted(path, header, cells, where)
        yield last, cells if all_named else _named(path, header, cells, where)


def _is_header(header: Header, cells: list[str]) -> bool:
    """Return whether a row repeats the names of the columns, as in tables that were joined."""
    return (
        cells[0].strip() == header.names[0]
        and header.first_row is None
        and (tuple(cells[n].strip() for n in header.kept if n < len(cells)) == header.names)
    )


def _kept(lines: Iterator[str], read: list[str]) -> Iterator[str]:
    for line in lines:
        read.append(line)
        yield line


def _without_csv_errors(
    path: Path, header: Header, reader: Iterator[list[str]]
) -> Iterator[list[str]]:
    try:
        for cells in reader:
            yield [from_cell(cell) for cell in cells] if header.width <= _MOST_TEXTS else cells
    except csv.Error as error:
        line = reader.line_num + header.lines  # type: ignore[attr-defined]
        raise DataError(
            f"{path} is not a valid table: {error} in line {line}", hint=_QUOTE_HINT
        ) from None


def _check_quotes(path: Path, header: Header, read: list[str], last: int) -> None:
    """Reject a quote without an end in the same row: it makes one cell of the rows behind it.

    A text with line breaks is allowed. What is inside of a stray quote are whole rows: lines with
    the number of cells of the header, where the separators in quotes are counted too.
    """
    counts = [line.count(header.separator) + 1 for line in read]
    between = counts[1:-1]
    if header.width > 1 and (
        header.width in between or (counts[0] == header.width and header.width in counts[1:])
    ):
        raise DataError(
            f"{path}: lines {last - len(read) + 1} to {last} are one row, because of a quote that"
            " is not closed in its own line",
            hint=f"{_QUOTE_HINT}; a cell must not have line breaks with whole rows in it",
        )


def _fitted(path: Path, header: Header, cells: list[str], where: str) -> list[str]:
    """Return the cells without empty ones behind the last column."""
    if len(cells) > header.width and not any(map(str.strip, cells[header.width :])):
        return cells[: header.width]
    raise DataError(
        f"{path}, {where}: {len(cells)} cells, but there are {header.width} columns",
        hint='put text with commas in quotes: "a,b.jpg"'
        if "to" not in where
        else f"is a quote missing? {_QUOTE_HINT}",
    )


def _named(path: Path, header: Header, cells: list[str], where: str) -> list[str]:
    """Return the cells of the columns with a name; the others must be empty."""
    kept = set(header.kept)
    for position, cell in enumerate(cells):
        if position not in kept and cell.strip():
            raise DataError(
                f"{path}, {where}: {cell[:40]!r} is in a column without a name",
                hint='name the column in the first line; put text with commas in quotes: "a,b.jpg"',
            )
    return [cells[position] for position in header.kept]
