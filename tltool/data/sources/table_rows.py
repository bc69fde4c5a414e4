"""Reads a CSV, TSV or JSONL file row by row, in bounded memory."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tltool.errors import DataError

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
_MAX_LINE = 1 << 26  # characters; a row of 1024 x 1024 RGB pixels has 12 million


@dataclass(frozen=True)
class Table:
    """The header of a table and its rows, which can be read once.

    Attributes:
        path: the file.
        columns: their names, stripped and in lower case; empty for JSONL, where each row has its
            own.
        rows: (line number, cells) one by one; for JSONL a mapping, otherwise a list parallel to
            ``columns``.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, list[str] | Mapping[str, str]]]


def is_table(path: Path) -> bool:
    """Return whether a file name has the extension of a table."""
    return path.name.lower().endswith(TABLES)


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open a table and read its header.

    Raises:
        DataError: the file cannot be read or is not a valid table; also raised by the rows.
    """
    try:
        # paths that are not UTF-8 keep their bytes
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            _reject_utf16(path)
            if path.suffix.lower() in (".jsonl", ".ndjson"):
                yield Table(path, (), _json_rows(path, file))
            else:
                yield _delimited(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a valid table: {error}") from None


def _reject_utf16(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path} is UTF-16", hint="save it as UTF-8")


def _delimited(path: Path, file: IO[str]) -> Table:
    lines = _lines(path, file)
    before, head = next(((n, line) for n, line in enumerate(lines, 1) if line.strip()), (0, ""))
    # Excel writes semicolons in locales with a decimal comma
    delimiter = max("\t;,", key=head.count)
    names = next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])
    columns = tuple(name.strip().lower() for name in names)
    _check_columns(path, columns)
    return Table(path, columns, _delimited_rows(path, lines, delimiter, len(columns), before))


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    if not columns:
        raise DataError(f"{path} is empty", hint="the first line must name the columns: path,label")
    name, count = Counter(columns).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path} has {count} columns named {name[:40]!r}", hint="rename them")


def _delimited_rows(
    path: Path, lines: Iterator[str], delimiter: str, width: int, before: int
) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        number = reader.line_num + before
        if not cells or cells == [""]:
            continue
        if len(cells) != width:
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells, but there are {width} columns",
                hint='put text with commas in quotes: "a,b.jpg"',
            )
        yield number, cells


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    for number, line in enumerate(_lines(path, file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not all(map(_is_simple, row.values())):
            raise DataError(
                f"{path}, line {number}: not a JSON object of simple values",
                hint='such as {"path": "a/1.jpg", "label": "cat"}',
            )
        cells = {key.strip().lower(): _text(value) for key, value in row.items()}
        for text in (*cells, *cells.values()):
            _reject_lone_surrogates(text, path, number)
        yield number, cells


def _reject_lone_surrogates(text: str, path: Path, line: int) -> None:
    """Reject half of a surrogate pair, which JSON can escape, but UTF-8 cannot encode."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise DataError(
            f"{path}, line {line}: {text[:80]!a} contains half of a surrogate pair",
            hint="write the character in UTF-8, or escape both halves",
        ) from None


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) >= _MAX_LINE:
            raise DataError(f"{path}, line {number}: longer than {_MAX_LINE:,} characters")
        yield line
