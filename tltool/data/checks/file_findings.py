"""Findings about single files: unusable, unusual, misplaced."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data.audit.audit import bad_fraction_setting
from tltool.data.audit.bad_files import mend_of
from tltool.data.audit.file_warnings import FileWarning
from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding, Severity
from tltool.data.decoding.header import Header
from tltool.data.decoding.image_errors import BadFileError
from tltool.data.sources.listing import Listing

TOO_MANY_UNUSABLE = "too many unusable files"
CROSS_CLASS_LINK = "link to another class"
EXTREME_ASPECT = 3.0
HUGE_PIXELS = 20_000_000


@dataclass(frozen=True)
class _Trait:
    """A property of a header that is reported."""

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
        lambda h: "print colours (CMYK), converted to RGB",
        "check in the report that its colours are right",
    ),
    _Trait(
        "16 bit",
        "note",
        lambda h: h.deep,
        lambda h: "16 bits per channel; the upper 8 are used",
        "rescale the intensities first if the object is in the lower bits",
    ),
    _Trait(
        "transparent",
        "note",
        lambda h: h.transparent,
        lambda h: "transparent pixels are blended over white",
        "nothing, unless only one class has such files",
    ),
    _Trait(
        "extreme aspect",
        "warning",
        lambda h: max(h.width, h.height) > EXTREME_ASPECT * min(h.width, h.height),
        lambda h: f"{h.width} x {h.height} pixels: most of it is cropped or distorted in a square",
        "crop it to the object",
    ),
    _Trait(
        "huge",
        "note",
        lambda h: h.width * h.height > HUGE_PIXELS,
        lambda h: f"{h.width} x {h.height} pixels are slow to decode",
        "downscale it if data loading limits the training speed",
    ),
)


def bad_file_finding(path: Path, problem: BadFileError) -> Finding:
    """Return the finding about an unusable file."""
    return Finding(path, problem.kind, problem.detail, mend_of(problem), "serious")


def too_many_unusable(unusable: int, images: int, *, limit: float) -> Iterator[Finding]:
    """Yield a finding if there are so many unusable files that training stops.

    Args:
        unusable: number of unusable files.
        images: number of all files, at least one.
        limit: share of unusable files that training accepts, 0 to 1.
    """
    if unusable > limit * images:
        detail = (
            f"{unusable:,} of {images:,} images ({unusable / images:.0%}) cannot be used; training "
            f"stops above {limit:.0%}"
        )
        setting = bad_fraction_setting(unusable, images)
        suggestion = f"replace them, or train without them: {setting}"
        yield Finding(None, TOO_MANY_UNUSABLE, detail, suggestion, "serious")


def warning_finding(path: Path, warning: FileWarning) -> Finding:
    """Return the finding about an unusual property of a usable file."""
    return Finding(path, warning.kind, warning.detail, warning.mend, "warning")


def unusual_file_findings(
    item: Item, header: Header, warnings: Sequence[FileWarning], *, image_size: int
) -> Iterator[Finding]:
    """Yield the findings about a usable file.

    Args:
        item: the file, audited.
        header: of the file.
        warnings: about the file.
        image_size: side in pixels of the model's square input.
    """
    path = item.path
    yield from (warning_finding(path, each) for each in warnings)
    for trait in _TRAITS:
        if trait.applies(header):
            yield Finding(path, trait.kind, trait.detail(header), trait.suggestion, trait.severity)
    # a transcoded image is already upright
    orientation = max(item.orientation, header.orientation)
    if orientation > 1:
        detail = f"EXIF orientation {orientation}, which is applied when the file is read"
        yield Finding(path, "EXIF orientation", detail, "nothing", "note")
    if min(header.width, header.height) < image_size / 4:
        detail = f"{header.width} x {header.height} pixels for a model input of {image_size}"
        suggestion = "find a larger copy, or train with a smaller data.image_size"
        # interned: in a data set of thumbnails the same text stands for every file
        yield Finding(path, "tiny", sys.intern(detail), suggestion, "warning")


def stray_file_findings(listing: Listing) -> Iterator[Finding]:
    """Yield the findings about files, folders and links that are not images of a class."""
    for path in listing.stray:
        detail = "not in a class folder, so without a label"
        yield Finding(path, "outside the class folders", detail, "move it to a class", "warning")
    for path in listing.empty_classes:
        detail = "no image; not used as a class"
        yield Finding(path, "empty class folder", detail, "add images or remove it", "warning")
    for link in listing.cross_class_links:
        detail = link.describe(listing.root)
        yield Finding(link.path, CROSS_CLASS_LINK, detail, "remove the link", "serious")
    for extension, count in listing.ignored.items():
        detail = f"{count:,} {_file(count)} {extension or 'without extension'}"
        suggestion = "if they are images, convert them"
        yield Finding(None, "ignored files", detail, suggestion, "note")
    if listing.hidden:
        entries = "file or folder" if listing.hidden == 1 else "files and folders"
        detail = f"{listing.hidden:,} hidden {entries} (such as .ipynb_checkpoints)"
        yield Finding(None, "hidden files", detail, "nothing; hidden files are skipped", "note")


def _file(count: int) -> str:
    return "file" if count == 1 else "files"
