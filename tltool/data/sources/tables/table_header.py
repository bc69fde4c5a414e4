"""The first line of a CSV or TSV: its separator and the names of the columns."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tltool.data.sources.tables.column_names import KNOWN_NAMES, standard_names
from tltool.data.sources.tables.file_index import is_image_name
from tltool.data.sources.tables.pixel_columns import count_pixels
from tltool.errors import DataError

_SEPARATORS = "\t;,|"  # Excel writes semicolons in locales with a decimal comma
_HINT = "the first line must name the columns: path,label"


@dataclass(frozen=True)
class Header:
    """The line of names of a table.

    Attributes:
        separator: of the cells.
        columns: names of the columns that are kept, in lower case.
        names: the same as they are written.
        width: number of cells of the line.
        kept: positions of ``columns`` among the cells.
        lines: number of lines read.
        first_row: the cells of the line if it is already an image; its columns are then known
            without names.
        notes: what was assumed, one sentence each.
    """

    separator: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    width: int
    kept: tuple[int, ...]
    lines: int
    first_row: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def read_header(path: Path, lines: Iterator[str]) -> Header:
    """Read the line of names, and a line ``sep=;`` of Excel before it.

    Columns without a name are left out, except the first, where pandas writes row numbers.

    Raises:
        DataError: the table is empty, two columns have the same name, or the first line has values
            in place of names.
    """
    count, head, separator = 0, "", ""
    for line in lines:
        count += 1
        text = line.strip().strip('"')
        if text.lower().startswith("sep=") and len(text) == len("sep=") + 1 and not separator:
            separator = text[-1]
        elif text.strip():
            head = line
            break
    separator = separator or max(_SEPARATORS, key=head.count)
    cells = next(csv.reader([head], delimiter=separator, skipinitialspace=True), [])
    names = [cell.strip().lower() for cell in cells]
    if not any(names):
        raise DataError(f"{path} is empty", hint=_HINT)
    _reject_numbers(path, names)
    if known := _columns_of_first_image(path, names, separator):
        note = f"{path} has no line of names: its columns are read as {' and '.join(known)}"
        kept = tuple(range(len(known)))
        return Header(separator, known, known, len(known), kept, count, cells, [note])
    kept = tuple(n for n, name in enumerate(names) if name or n == 0)
    columns = [names[n] for n in kept]
    _reject_duplicates(path, columns)
    renamed, notes = standard_names(path, columns)
    columns = [renamed.get(name, name) for name in columns]
    written = tuple(cells[n].strip() for n in kept)
    return Header(separator, tuple(columns), written, len(names), kept, count, None, notes)


def _reject_duplicates(path: Path, columns: Sequence[str]) -> None:
    name, count = Counter(columns).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path} has {count} columns named {name[:40]!r}", hint="rename them")


def _reject_numbers(path: Path, names: Sequence[str]) -> None:
    """Reject a first line of numbers, such as that of mnist_train.csv.

    The names ``0``, ``1``, … of pixels are not values.
    """
    if len(names) < 2 or not all(map(_is_number, names)):
        return
    numbers = sorted(int(name) for name in names if name.isdecimal())
    if numbers in (list(range(len(names))), list(range(1, len(names) + 1))):
        return
    count = len(names) - 1 if _is_side(len(names) - 1) or not _is_side(len(names)) else len(names)
    label = "label," if count < len(names) else ""
    text = f"{label}pixel0,pixel1,…,pixel{count - 1}"
    program = f"print('{label}'+','.join(f'pixel{{n}}' for n in range({count})))"
    raise DataError(
        f"{path}: the first line has numbers, not the names of the columns",
        hint=f"put the names before it; if the label is the first column: {text}\n"
        f'(python3 -c "{program}"; cat {path.name}) > named.csv',
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_side(count: int) -> bool:
    """Return whether so many values are a square image, grey or RGB."""
    return any(math.isqrt(count // c) ** 2 * c == count for c in (1, 3))


def _columns_of_first_image(
    path: Path, names: Sequence[str], separator: str
) -> tuple[str, ...] | None:
    """Return the columns of a table whose first line is already an image; None for names."""
    images = [n for n, name in enumerate(names) if is_image_name(name)]
    if not images or KNOWN_NAMES.intersection(names) or count_pixels(names) > 1:
        return None
    if len(images) > 1 or len(names) > 2:
        raise DataError(
            f"{path}: the first line is an image ({names[images[0]][:80]!r}), not the names of the"
            " columns",
            hint=f"put a line of names before it, such as path{separator}label{separator}split",
        )
    if len(names) == 1:
        return ("path",)
    return ("path", "label") if images == [0] else ("label", "path")
