"""Groups images that must share a split: by a column, by folder, or by a pattern in the path."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.folders.folder_names import is_image_folder_name, part_named
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.tables.table_rows import is_table, open_table
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
    items = ItemColumns(
        replace(item, group=group_of(item, _relative_path(item, listing))) for item in listing.items
    )
    if not items.group_names:
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
    if not is_table(source) or not source.is_file():
        return _by_known_column(listing, by.lower())
    column = by.lower()
    cells = [_cell(item, column) for item in listing.items]
    if not any(cells):
        if not _has_column(source, column):
            return None
        raise DataError(f"--group {by}: the column is empty", hint=HINT)
    return lambda item, _: _cell(item, column) or None


def _cell(item: Item, column: str) -> str:
    """Return the cell of an item in a column of its table; empty if there is none."""
    if column in ("group", "label"):
        return (item.group or "") if column == "group" else item.label
    if column in ("split", "fold"):
        return (
            str(item.given_split or "")
            if column == "split"
            else ""
            if item.fold is None
            else str(item.fold)
        )
    return dict(item.columns).get(column, "")


def _has_column(source: Path, column: str) -> bool:
    with open_table(source) as table:
        return column in table.columns or any(
            isinstance(row, Mapping) and column in row for _, row in table.rows
        )


def _by_known_column(listing: Listing, column: str) -> GroupOf | None:
    """Return a lookup in a column of a table that is inside of the source."""
    if not any(name == column for item in listing.items for name, _ in item.columns):
        return None
    return lambda item, _: dict(item.columns).get(column) or None


def _by_folder(item: Item, path: Path) -> str | None:
    """Return the folder of an image, unless it is the class folder.

    Folders that are named after all images of a class (``cat/images``) or a split (``cat/train``)
    are no groups.
    """
    folder = path.parent
    while folder.name and not _is_class(folder, item) and _names_no_group(folder, item):
        folder = folder.parent
    return None if not folder.name or _is_class(folder, item) else folder.as_posix()


def _is_class(folder: Path, item: Item) -> bool:
    # macOS writes é as two characters; labels are in normal form C
    return unicodedata.normalize("NFC", folder.name) == item.label


def _names_no_group(folder: Path, item: Item) -> bool:
    part = part_named(folder.name) if item.given_split else None
    return is_image_folder_name(folder.name) or (part is not None and not part.rest)


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
    if not is_table(source) or not source.is_file():
        return reason
    with open_table(source) as table:
        return f"{reason}, and the table has no such column (it has {listed(table.columns)})"
