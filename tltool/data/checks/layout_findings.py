"""Findings about the layout of the folders: how they are understood, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator

from tltool.data.checks.findings import Finding
from tltool.data.sources.folders.other_files import misnamed_hint
from tltool.data.sources.listing import Listing
from tltool.errors import counted

MISNAMED = "misnamed files"
LAYOUT_KINDS = (
    *("split folder", "wrapping folder", "masks", "folder left out", "folder without labels"),
    *("split without labels", "splits below the classes", "splits in class names"),
    *("same folders in all classes", "unusual class folder", "unused annotations", MISNAMED),
)
_ELSEWHERE = ("empty class folder",)  # reported as a finding about files


def layout_findings(listing: Listing) -> Iterator[Finding]:
    """Yield the notes about a source, and the files that are images only by their content."""
    for note in listing.notes:
        if note.kind not in _ELSEWHERE:
            path = None if note.path == listing.root else note.path
            suggestion = note.suggestion or "nothing, if this is right"
            yield Finding(path, note.kind, note.detail, suggestion, note.severity)
    if listing.misnamed:
        files = counted(
            len(listing.misnamed),
            "file begins as an image does, but has",
            "files begin as images do, but have",
        )
        detail = f"{files} no extension of an image"
        yield Finding(
            listing.misnamed[0], MISNAMED, detail, misnamed_hint(listing.misnamed), "warning"
        )
