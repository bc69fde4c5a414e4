"""Reads a CSV, TSV or JSONL file row by row, in bounded memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tltool.data.decoding.image_file import check_regular
from tltool.data.sources.tables.column_names import standard_names
from tltool.data.sources.tables.row_cells import row_cells
from tltool.data.sources.tables.table_header import read_header
from tltool.errors import DataError

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
_SIMPLE = ("path", "split", "group", "weight", "fold")
_MAX_LINE = 1 << 26  # characters; a row of 1024 x 1024 RGB pixels has 12 million
csv.field_size_limit(_MAX_LINE)  # pixels may be in a single cell


@dataclass(frozen=True)
class Table:
    """The header of a table and its rows, which can be read once.

    Attributes:
        path: the file.
        columns: their names, stripped and in lower case; empty for JSONL, where each row has its
            own.
        rows: (line number, cells) one by one; for JSONL a mapping, otherwise a list parallel to
            ``columns``.
        names: the columns as they are written; empty for JSONL.
        notes: what was assumed about the columns, one sentence each; complete after the first row.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, list[str] | Mapping[str, str]]]
    names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


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
        check_regular(path)
        # paths that are not UTF-8 keep their bytes
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            _reject_utf16(path)
            if path.suffix.lower() in (".jsonl", ".ndjson"):
                notes: list[str] = []
                yield Table(path, (), _json_rows(path, file, notes), notes=notes)
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
    header = read_header(path, lines)
    rows = row_cells(path, header, lines)
    return Table(path, header.columns, rows, header.names, header.notes)


def _json_rows(
    path: Path, file: IO[str], notes: list[str]
) -> Iterator[tuple[int, Mapping[str, str]]]:
    renamed: dict[str, str] | None = None
    for number, line in enumerate(_lines(path, file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _invalid_row(path, number)
        values = {key.strip().lower(): value for key, value in row.items()}
        if renamed is None:
            renamed, sentences = standard_names(path, list(values))
            notes += sentences
        values = {renamed.get(key, key): value for key, value in values.items()}
        cells = {key: _text(path, number, key, value) for key, value in values.items()}
        for text in (*cells, *cells.values()):
            _reject_lone_surrogates(text, path, number)
        yield number, cells


def _invalid_row(path: Path, line: int) -> DataError:
    return DataError(
        f"{path}, line {line}: not a JSON object of simple values",
        hint='such as {"path": "a/1.jpg", "label": "cat"}',
    )


def _reject_lone_surrogates(text: str, path: Path, line: int) -> None:
    """Reject half of a surrogate pair, which JSON can escape, but UTF-8 cannot encode."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise DataError(
            f"{path}, line {line}: {text[:80]!a} contains half of a surrogate pair",
            hint="write the character in UTF-8, or escape both halves",
        ) from None


def _text(path: Path, line: int, key: str, value: Any) -> str:
    """Return a value of JSON as text; an object or a list only where no column of tltool has it."""
    if isinstance(value, dict | list):
        if key == "label":
            raise DataError(
                f"{path}, line {line}: the label is a list or an object, not one class",
                hint="tltool trains classifiers with one label per image; write one label per line",
            )
        if key in _SIMPLE:
            raise _invalid_row(path, line)
        return json.dumps(value)
    return "" if value is None else str(value)


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) >= _MAX_LINE:
            raise DataError(f"{path}, line {number}: longer than {_MAX_LINE:,} characters")
        yield line
