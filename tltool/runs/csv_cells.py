"""Write and read the CSV tables of tltool: no cell is a formula for a spreadsheet (CSV injection).

A cell that begins with one of ``= + - @``, a tab or a carriage return and is no number gets an
apostrophe in front, which spreadsheets read as the sign of a text; reading removes it. See
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any

_FORMULA = re.compile(r"[=+\-@\t\r]|'+[=+\-@\t\r]")
_NEGATIVE = re.compile(r"-(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|-inf", re.ASCII)
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def to_cell(value: object) -> object:
    """Return a value as it is written to a cell.

    Examples:
        >>> to_cell("=1+1.png"), to_cell("-0.5"), to_cell("cat.png")
        ("'=1+1.png", '-0.5', 'cat.png')
    """
    text = str(value)
    if isinstance(value, int | float) or not _FORMULA.match(text) or _NEGATIVE.fullmatch(text):
        return value
    return f"'{text}"


def from_cell(cell: str) -> str:
    """Return the text of a cell that ``to_cell`` returned."""
    return cell[1:] if _ESCAPED.match(cell) else cell


class CsvWriter:
    """A ``csv.writer`` whose cells are no formulas; the arguments are those of ``csv.writer``."""

    def __init__(self, file: Any, **options: Any) -> None:
        self._writer = csv.writer(file, **options)
        # before Python 3.13 csv quotes a carriage return only if it is part of the line end
        self._quoting = csv.writer(file, **{**options, "quoting": csv.QUOTE_ALL})

    def writerow(self, row: Iterable[object]) -> None:
        """Write one row."""
        cells = [to_cell(value) for value in row]
        has_return = any("\r" in str(cell) for cell in cells)
        (self._quoting if has_return else self._writer).writerow(cells)

    def writerows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write several rows."""
        for row in rows:
            self.writerow(row)


def csv_rows(file: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of ``CsvWriter`` by column name; missing cells are left out.

    Raises:
        ValueError: the table is damaged.
    """
    try:
        for row in csv.DictReader(file):
            yield {key: from_cell(cell) for key, cell in row.items() if key and cell is not None}
    except csv.Error as error:
        raise ValueError(f"it is no CSV table: {error}") from None
