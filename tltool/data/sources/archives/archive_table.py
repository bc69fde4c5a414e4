"""Finds the table of the images in an extracted archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tltool.data.sources.folders.folder_tree import visible_entries
from tltool.data.sources.tables.pixel_table import is_pixels
from tltool.data.sources.tables.table_rows import Table, is_table, open_table
from tltool.errors import DataError

_SUBMISSION = "sample_submission"  # of a competition: its labels are made up


def find_table(folder: Path, *, labelled: bool) -> Path | None:
    """Return the one table that lists images; None if there is none or more than one.

    It is directly in ``folder``, or in the only folder of it: ``train.csv`` in the archive of a
    competition, next to a ``test.csv`` without labels and a ``sample_submission.csv``.

    Args:
        folder: content of the archive.
        labelled: whether the table must have labels.

    Raises:
        DataError: the folder cannot be read.
    """
    entries = visible_entries(folder)
    while len(entries) == 1 and entries[0].is_folder:
        entries = visible_entries(entries[0].path)
    tables = [
        path
        for path, is_folder in entries
        if not is_folder and is_table(path) and not path.name.lower().startswith(_SUBMISSION)
    ]
    suitable = [path for path in tables if _lists_images(path, labelled=labelled)]
    return suitable[0] if len(suitable) == 1 else None


def _lists_images(path: Path, *, labelled: bool) -> bool:
    try:
        with open_table(path) as table:
            columns = _columns(table)
            is_known = "path" in columns or is_pixels(table)
            return is_known and ("label" in columns or not labelled)
    except DataError:
        return False


def _columns(table: Table) -> set[str]:
    """Return the names of the columns; of JSONL, those of the first row."""
    if table.columns:
        return set(table.columns)
    _, row = next(table.rows, (0, {}))
    return set(row) if isinstance(row, Mapping) else set()
