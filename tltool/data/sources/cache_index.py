"""The index of a source that was converted to image files in the cache."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.listing import Listing
from tltool.data.sources.table_columns import Problems, item_from_row
from tltool.data.sources.table_rows import open_table

INDEX = "index.csv"


def index_listing(source: str, folder: Path, *, labelled: bool) -> Listing:
    """List the images of a cached copy by its index, with ``path`` and possibly ``line`` and more.

    Args:
        source: as the user named it.
        folder: the cached copy.
        labelled: whether a label is required.

    Raises:
        DataError: a row of the source is invalid; names the line.
    """
    problems = Problems(source)
    items = []
    with open_table(folder / INDEX) as index:
        for number, row in index.rows:
            assert isinstance(row, list)
            cells = dict(zip(index.columns, row, strict=True))
            items.append(
                item_from_row(
                    folder / cells["path"],
                    cells,
                    line=int(cells.get("line", number)),
                    problems=problems,
                    labelled=labelled,
                )
            )
    problems.check()
    return Listing(source=source, root=folder, items=tuple(items))
