"""Findings about single files and about what lies beside them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tltool.data.audit.audit import allowing
from tltool.data.audit.inspect_file import CIRCLE, GONE, NO_FILE, odd_notes
from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding, Severity
from tltool.data.decoding.header import BadFileError, Header
from tltool.data.sources.listing import Listing

MANY = "many unusable files"
EXTREME_ASPECT = 3.0
HUGE_PIXELS = 20_000_000

_REMOVE = "remove it, or replace it by a whole copy"
_BAD_FILES = {
    "unreadable": "copy it anew, or remove it",
    "unsupported": "convert it to JPEG or PNG",
    "too many pixels": "scale it down; a model sees a few hundred pixels a side",
    "too large": "scale it down; a model sees a few hundred pixels a side",
}
_UNREADABLE = {
    GONE: "mend the link, or remove it",
    CIRCLE: "mend the link, or remove it",
    NO_FILE: "remove it",
    os.strerror(errno.EACCES): "give yourself the right to read it, or remove it",
}
_ODD_FILES = {
    "wrong extension": "rename it, so that other programs are not misled",
    "animated": "save the frame that shows the object as a file of its own",
}


@dataclass(frozen=True)
class _Trait:
    """A property of a header that deserves a finding."""

    kind: str
    severity: Severity
    applies: Callable[[Header], bool]
    detail: Callable[[Header], str]
    suggestion: str


_TRAITS = (
    _Trait(
        "CMYK",
        "note",
        lambda h: h.mode == "CMYK",
        lambda h: "colours for print, turned into RGB",
        "nothing, if its colours look right in the report",
    ),
    _Trait(
        "16 bit",
        "note",
        lambda h: h.deep,
        lambda h: "16 bits a channel, of which the upper 8 are used",
        "stretch the brightness beforehand if the object is in the lower bits",
    ),
    _Trait(
        "transparent",
        "note",
        lambda h: h.transparent,
        lambda h: "transparent parts are laid over white",
        "nothing, unless only one class has such files",
    ),
    _Trait(
        "extreme aspect",
        "warning",
        lambda h: max(h.width, h.height) > EXTREME_ASPECT * min(h.width, h.height),
        lambda h: f"{h.width} x {h.height} pixels: most of it is lost or squeezed in a square",
        "cut it to the object",
    ),
    _Trait(
        "huge",
        "note",
        lambda h: h.width * h.height > HUGE_PIXELS,
        lambda h: f"{h.width} x {h.height} pixels take long to decode in every pass",
        "scale it down, if training waits for images",
    ),
)


def bad_file(path: Path, problem: BadFileError) -> Finding:
    """Return the finding about a file that cannot be used."""
    suggestion = _UNREADABLE.get(problem.detail, _BAD_FILES.get(problem.kind, _REMOVE))
    return Finding(path, problem.kind, problem.detail, suggestion, "serious")


def many_unusable(lost: int, images: int, *, most: float) -> Iterator[Finding]:
    """Yield a finding where so many files cannot be used that training stops.

    Args:
        lost: files that cannot be used.
        images: files in all, at least one.
        most: share that training leaves out, 0 to 1.
    """
    if lost > most * images:
        detail = (
            f"{lost:,} of {images:,} images ({lost / images:.0%}) cannot be used, and training "
            f"stops above {most:.0%}"
        )
        suggestion = f"mend or replace them, or train without them: {allowing(lost, images)}"
        yield Finding(None, MANY, detail, suggestion, "serious")


def odd_file(item: Item, header: Header, *, image_size: int) -> Iterator[Finding]:
    """Yield what is odd about a file that can be used.

    Args:
        item: the file, audited.
        header: what its header says.
        image_size: side in pixels of the square that the model sees.
    """
    path = item.path
    for note in odd_notes(path, header):
        yield Finding(path, note.kind, note.detail, _ODD_FILES[note.kind], "warning")
    for trait in _TRAITS:
        if trait.applies(header):
            yield Finding(path, trait.kind, trait.detail(header), trait.suggestion, trait.severity)
    # a format that is converted first comes out upright
    orientation = max(item.orientation, header.orientation)
    if orientation > 1:
        detail = f"stored with EXIF orientation {orientation}, turned upright when read"
        yield Finding(path, "turned by EXIF", detail, "nothing", "note")
    if min(header.width, header.height) < image_size / 4:
        detail = f"{header.width} x {header.height} pixels for a model that sees {image_size}"
        suggestion = "find a larger copy, or train with a smaller data.image_size"
        yield Finding(path, "tiny", detail, suggestion, "warning")


def files_beside_images(listing: Listing) -> Iterator[Finding]:
    """Yield what lies in the folder and is no image of a class."""
    for path in listing.stray:
        detail = "it lies in no class folder and has no label"
        yield Finding(path, "outside the class folders", detail, "move it into a class", "warning")
    for path in listing.empty_classes:
        detail = "it holds no image and is no class"
        yield Finding(path, "empty class folder", detail, "fill it or remove it", "warning")
    for astray in listing.astray:
        detail = astray.told(listing.root)
        yield Finding(astray.path, "link to other images", detail, "remove the link", "serious")
    for extension, count in listing.ignored.items():
        detail = f"{count:,} {_file(count)} {extension or 'without extension'}"
        suggestion = "nothing, unless they are images: then convert them"
        yield Finding(None, "ignored files", detail, suggestion, "note")
    if listing.hidden:
        entries = "file or folder" if listing.hidden == 1 else "files and folders"
        detail = f"{listing.hidden:,} hidden {entries} (such as .ipynb_checkpoints)"
        yield Finding(None, "hidden files", detail, "nothing: hidden ones are skipped", "note")


def _file(count: int) -> str:
    return "file" if count == 1 else "files"
