"""The error for a source without images or classes, which says what it contains instead."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.archives.archive import is_archive
from tltool.data.sources.array_files import array_file_hint
from tltool.data.sources.folders.folder_tree import image_folders
from tltool.data.sources.folders.other_files import conversion_hint, describe_counts, misnamed_hint
from tltool.data.sources.listing import Listing, listed
from tltool.data.sources.tables.table_rows import is_table
from tltool.errors import DataError


def no_images(listing: Listing, *, hint: str | None) -> DataError:
    """Return the error for a source without images; it counts the files that it has instead.

    Args:
        listing: of the source.
        hint: how to solve the problem, where the other files give no better hint.
    """
    others = ""
    if listing.ignored:
        others = f", but other files: {describe_counts(listing.ignored)}"
    return DataError(
        f"{listing.source} contains no images{others}", hint=_mend_of_others(listing) or hint
    )


def _mend_of_others(listing: Listing) -> str | None:
    """Return what to do with the other files of a source without images, None if unknown."""
    if listing.misnamed:
        return misnamed_hint(listing.misnamed)
    arrays = array_file_hint(listing.other_files)
    if arrays:
        return arrays
    archives = [path.name for path in listing.other_files if is_archive(path)]
    if archives:
        return f"extract the archives in it, or give one of them ({listed(archives, 3)})"
    tables = [listing.shown_path(path) for path in listing.other_files if is_table(path)]
    if tables and is_archive(Path(listing.source)):
        names = [Path(name).name for name in tables]
        return f"extract it, and give the table that lists the images: {listed(names, 3)}"
    if tables:
        return f"if a table lists the images, give it alone: {listed(tables, 3)}"
    return conversion_hint(list(listing.ignored))


def missing_classes_hint(listing_root: Path, folder: Path) -> str | None:
    """Return a hint that names the folder in which the classes may be, None if there is none."""
    inside = [each.name for each in image_folders(folder)]
    if len(inside) < 2:
        return None
    name = folder.relative_to(listing_root).as_posix()
    return f"if the classes are {listed(inside, 3)}, give the folder '{name}'"
