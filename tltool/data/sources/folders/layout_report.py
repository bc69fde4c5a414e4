"""Reports how the folders of a source are understood."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from tltool.data.sources.folders.other_files import misnamed_hint
from tltool.data.sources.listing import Listing, listed
from tltool.errors import counted, one_line
from tltool.events import Observer

_LINKS_NAMED = 3
_NOTES_NAMED = 5  # of each kind


def report_layout(listing: Listing, observer: Observer) -> None:
    """Report how the folders are understood, and files that are images by their content alone.

    Args:
        listing: of a source.
        observer: receives a line for each of the first notes of each kind.
    """
    counts = Counter(note.kind for note in listing.notes)
    named: Counter[str] = Counter()
    for note in listing.notes:
        named[note.kind] += 1
        level: Literal["info", "warning"] = "info" if note.severity == "note" else "warning"
        if named[note.kind] <= _NOTES_NAMED:
            observer.on_message(note.describe(listing.root), level=level)
        elif named[note.kind] == counts[note.kind]:
            more = counts[note.kind] - _NOTES_NAMED
            observer.on_message(f"and {more:,} more of this kind: {note.kind}", level=level)
    if listing.stray:
        name = listing.stray[0].relative_to(listing.root).as_posix()
        outside = "outside the class folders"
        stray = counted(len(listing.stray), f"image {outside} is", f"images {outside} are")
        observer.on_message(
            f"{stray} not used, for example {one_line(name)!r}",
            level="warning",
        )
    if listing.misnamed:
        misnamed = counted(
            len(listing.misnamed),
            "file that begins as an image does is not read, because its name has",
            "files that begin as images do are not read, because their names have",
        )
        observer.on_message(
            f"{misnamed} no extension of an image; {misnamed_hint(listing.misnamed)}",
            level="warning",
        )


def report_links(listing: Listing, observer: Observer) -> None:
    """Report symbolic links to folders that are read twice, or for two classes."""
    if listing.repeated_folders:
        names = [path.relative_to(listing.root).as_posix() for path in listing.repeated_folders]
        observer.on_message(
            f"symbolic links to folders of the same class are skipped: {listed(names)}"
        )
    links = listing.cross_class_links
    for link in links[:_LINKS_NAMED]:
        path = link.path.relative_to(listing.root).as_posix()
        observer.on_message(
            f"'{path}': {link.describe(listing.root)}; remove the link", level="warning"
        )
    if len(links) > _LINKS_NAMED:
        more = len(links) - _LINKS_NAMED
        observer.on_message(f"and {more} more links to images of other classes", level="warning")
