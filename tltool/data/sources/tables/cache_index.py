"""The index of a source that was converted to image files in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.tables.table_columns import Problems, item_from_row
from tltool.data.sources.tables.table_rows import open_table
from tltool.events import Observer

INDEX = "index.csv"
INDEX_OF_SAMPLES = "index.jsonl"
_NOTES = "notes.json"


def write_notes(folder: Path, notes: Sequence[str]) -> None:
    """Store what a user must know about a copy, to report it whenever the copy is used."""
    (folder / _NOTES).write_text(json.dumps(notes), encoding="utf-8")


def report_notes(folder: Path, observer: Observer) -> None:
    """Report what ``write_notes`` has stored."""
    for note in json.loads((folder / _NOTES).read_text(encoding="utf-8")):
        observer.on_message(note)


def index_listing(source: str, folder: Path, *, labelled: bool, are_names: bool = False) -> Listing:
    """List the images of a cached copy by its index, with ``path`` and possibly ``line`` and more.

    Args:
        source: as the user named it.
        folder: the cached copy.
        labelled: whether a label is required.
        are_names: whether the labels are names of classes, as in ``item_from_row``.

    Raises:
        DataError: a row of the source is invalid; names the line.
    """
    problems = Problems(source)
    items = []
    path = folder / INDEX if (folder / INDEX).is_file() else folder / INDEX_OF_SAMPLES
    with open_table(path) as index:
        for number, row in index.rows:
            cells = row if isinstance(row, Mapping) else dict(zip(index.columns, row, strict=True))
            items.append(
                item_from_row(
                    folder / cells["path"],
                    cells,
                    line=int(cells.get("line", number)),
                    problems=problems,
                    labelled=labelled,
                    are_names=are_names,
                )
            )
    problems.check()
    return Listing(source=source, root=folder, items=tuple(items))
