"""Groups images that must share a split: by a column, by folder, or by a pattern in the path."""

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


def assign_groups(listing: Listing, by: str) -> Listing:
    """Return a listing whose items have groups.

    Args:
        listing: a source's images.
        by: a column, if the source is a table; ``folder`` for the folder below the class folder; or
            a regular expression that is searched in the path relative to the source. Its first
            capture group (or the whole match) names the group; images with no match, or an empty
            one, have no group.

    Raises:
        UsageError: it is not a valid regular expression.
        DataError: no image has a group.
    """
    group_of = _by_column(listing, by) or (_by_folder if by == FOLDER else _by_pattern(by))
    items = tuple(
        replace(item, group=group_of(item, _relative_path(item, listing))) for item in listing.items
    )
    if all(item.group is None for item in items):
        raise DataError(f"--group {by}: {_why_no_group(listing, by)}", hint=HINT)
    return replace(listing, items=items)


HINT = "a column of the table, 'folder', or a regular expression such as 'patient[0-9]+'"

GroupOf = Callable[[Item, Path], str | None]


def _relative_path(item: Item, listing: Listing) -> Path:
    inside = item.path.is_relative_to(listing.root)
    return item.path.relative_to(listing.root) if inside else item.path


def _by_column(listing: Listing, by: str) -> GroupOf | None:
    """Return a lookup in a column; None if the source has no such column."""
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


def _by_folder(item: Item, path: Path) -> str | None:
    """Return the folder of an image, unless it is the class folder."""
    folder = path.parent
    # macOS writes é as two characters; labels are in normal form C
    name = unicodedata.normalize("NFC", folder.name)
    return None if name in ("", item.label) else folder.as_posix()


def _by_pattern(by: str) -> GroupOf:
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise UsageError(f"--group {by}: invalid regular expression: {error}", hint=HINT) from None

    def search(_: Item, path: Path) -> str | None:
        match = pattern.search(path.as_posix())
        if match is None:
            return None
        return (match[1] if pattern.groups else match[0]) or None

    return search


def _why_no_group(listing: Listing, by: str) -> str:
    if by == FOLDER:
        return "no image is in a folder below its class folder"
    example = _relative_path(listing.items[0], listing).as_posix()
    reason = f"the expression matches none of the {len(listing.items)} paths, such as {example!r}"
    source = Path(listing.source)
    if not is_table(source):
        return reason
    with open_table(source) as table:
        return f"{reason}, and the table has no such column (it has {listed(table.columns)})"
