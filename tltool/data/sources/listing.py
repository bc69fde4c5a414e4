"""The list of the images of a source, before any file is opened."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tltool.data.catalog import SPLIT_NAMES, Item, SplitName
from tltool.errors import DataError

SPLIT_WORDS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class CrossClassLink(NamedTuple):
    """A symbolic link in a class folder to images outside of that class.

    Attributes:
        path: the link.
        target: the folder of another class, or of the whole source.
        class_folder: that contains the link.
    """

    path: Path
    target: Path
    class_folder: Path

    def describe(self, root: Path) -> str:
        """Return a sentence about the link; ``root`` is the folder of the source."""
        target = self.target.relative_to(root)
        place = "the folder of all images" if target == Path() else f"'{target.as_posix()}'"
        label = self.class_folder.relative_to(root).as_posix()
        return f"symbolic link to {place}; the images there also count as class '{label}'"


@dataclass(frozen=True)
class Listing:
    """The images of a source.

    Attributes:
        source: as the user spelled it.
        root: displayed paths are relative to this folder.
        items: the images, each a file.
        hidden: number of hidden files and folders, which are skipped.
        ignored: number of other files by lower-case extension (``""`` for none).
        stray: images outside the class folders, which are not items.
        empty_classes: class folders without images, which are not classes.
        ood_images: out-of-distribution images, which show none of the classes and are not items.
        repeated_folders: links to a folder that its class already contains; it is read once.
        cross_class_links: links to images outside of the class.
    """

    source: str
    root: Path
    items: tuple[Item, ...]
    hidden: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    stray: tuple[Path, ...] = ()
    empty_classes: tuple[Path, ...] = ()
    ood_images: tuple[Path, ...] = ()
    repeated_folders: tuple[Path, ...] = ()
    cross_class_links: tuple[CrossClassLink, ...] = ()

    def shown(self, item: Item) -> str:
        """Return the displayed path of an item: in the source as the user named it, or its file."""
        if item.path.is_relative_to(self.root):
            return str(Path(self.source) / item.path.relative_to(self.root))
        return str(item.path)


def split_named(text: str) -> SplitName | None:
    """Return the split that a folder or a cell names, None if it names none."""
    return SPLIT_WORDS.get(text.lower())


def class_name(text: str, *, described_as: str, hint: str = "rename it") -> str:
    """Return the name of a class in Unicode normal form C.

    Args:
        text: the name.
        described_as: what has this name, for the error.
        hint: what to do about an invalid name.

    Raises:
        DataError: it is not valid UTF-8.
    """
    try:
        text.encode()
    except UnicodeError:
        shown = text.encode(errors="surrogateescape")
        raise DataError(
            f"the name of {described_as} {shown!r} is not valid UTF-8", hint=hint
        ) from None
    return unicodedata.normalize("NFC", text)


def check_classes(listing: Listing, *, min_classes: int, hint: str | None) -> None:
    """Check that a classifier can be trained or evaluated on a listing.

    Raises:
        DataError: it is empty, has too few classes, no training images, or classes without
            training images.
    """
    if not listing.items:
        raise DataError(f"{listing.source} contains no images", hint=hint)
    known = {item.label for item in listing.items if item.given_split in (None, "train")}
    if not known:
        split = next(item.given_split for item in listing.items)
        raise DataError(f"{listing.source} has {split} images, but no training images")
    _check_known(listing.items, known)
    if len(known) < min_classes:
        raise DataError(
            f"{listing.source} has only {len(known)} class ({listed(sorted(known))});"
            f" a classifier needs at least {min_classes}",
            hint=hint,
        )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return the first ``most`` names in quotes, and the number of the others."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _check_known(items: Sequence[Item], known: set[str]) -> None:
    for split in SPLIT_NAMES[1:]:
        unknown = sorted({i.label for i in items if i.given_split == split} - known)
        if unknown:
            raise DataError(
                f"the {split} images have classes that the training images do not have:"
                f" {listed(unknown)} (known: {listed(sorted(known))})",
                hint="use the same class names in every split",
            )
