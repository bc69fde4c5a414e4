"""Which images belong together: by a column, by folder, or by what a pattern finds in the path."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.table_rows import is_table, open_table
from tltool.errors import DataError, UsageError

FOLDER = "folder"


def grouped(listing: Listing, by: str) -> Listing:
    """Return a listing whose items have the groups that ``by`` says.

    Args:
        listing: a source's images.
        by: a column of the table that the source is; ``folder`` for the folder that an image lies
            in, below its class; else a regular expression that is searched in the path below the
            source: its first group (or the whole match) names the group, and an image without a
            match, or with an empty one, stays alone.

    Raises:
        UsageError: it is no regular expression.
        DataError: it groups nothing.
    """
    find = _by_column(listing, by) or (_by_folder if by == FOLDER else _by_pattern(by))
    items = tuple(replace(item, group=find(item, _shown(item, listing))) for item in listing.items)
    if all(item.group is None for item in items):
        raise DataError(f"--group {by}: {_why_none(listing, by)}", hint=HINT)
    return replace(listing, items=items)


HINT = "a column of the table, 'folder', or a regular expression such as 'patient[0-9]+'"

Find = Callable[[Item, Path], str | None]


def _shown(item: Item, listing: Listing) -> Path:
    inside = item.path.is_relative_to(listing.root)
    return item.path.relative_to(listing.root) if inside else item.path


def _by_column(listing: Listing, by: str) -> Find | None:
    """Return what looks groups up in a column; None where the source has no such column."""
    source = Path(listing.source)
    if not is_table(source):
        return None
    column, known = by.lower(), False
    names: dict[str, str] = {}
    with open_table(source) as table:
        for _, row in table.rows:
            cells = row if isinstance(row, Mapping) else dict(zip(table.columns, row, strict=True))
            path = os.path.normpath(source.parent / cells.get("path", ""))
            names[path] = cells.get(column, "").strip()
            known |= column in cells
    if not known:
        return None
    if not any(names.values()):
        raise DataError(f"--group {by}: the column is empty", hint=HINT)
    return lambda item, _: names.get(os.path.normpath(item.path)) or None


def _by_folder(item: Item, shown: Path) -> str | None:
    """Return the folder of an image, where it is not that of the whole class."""
    folder = shown.parent
    # macOS spells é as two characters; labels are in normal form C
    name = unicodedata.normalize("NFC", folder.name)
    return None if name in ("", item.label) else folder.as_posix()


def _by_pattern(by: str) -> Find:
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise UsageError(f"--group {by}: no regular expression: {error}", hint=HINT) from None

    def find(_: Item, shown: Path) -> str | None:
        found = pattern.search(shown.as_posix())
        if found is None:
            return None
        return (found[1] if pattern.groups else found[0]) or None

    return find


def _why_none(listing: Listing, by: str) -> str:
    if by == FOLDER:
        return "no image lies in a folder below that of its class"
    example = _shown(listing.items[0], listing).as_posix()
    told = f"the expression matches none of the {len(listing.items)} paths, such as {example!r}"
    source = Path(listing.source)
    if not is_table(source):
        return told
    with open_table(source) as table:
        return f"{told}, and the table has no such column (it has {listed(table.columns)})"
