"""Copies of tables and data sets in the cache: image files and an index of what is said of them."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.table_columns import Problems, described_item
from tltool.data.sources.table_rows import open_table

INDEX = "index.csv"


def index_listing(source: str, folder: Path, *, labelled: bool) -> Listing:
    """List a copy by its index, which has the column ``path`` and may have ``line`` and others.

    Args:
        source: as the user spelled it.
        folder: the copy.
        labelled: whether a label is wanted.

    Raises:
        DataError: a row of the source is wrong; its line is named.
    """
    problems = Problems(source)
    items = []
    with open_table(folder / INDEX) as index:
        for number, row in index.rows:
            assert isinstance(row, list)
            cells = dict(zip(index.columns, row, strict=True))
            items.append(
                described_item(
                    folder / cells["path"],
                    cells,
                    line=int(cells.get("line", number)),
                    problems=problems,
                    labelled=labelled,
                )
            )
    problems.check()
    return Listing(source=source, root=folder, items=tuple(items))
