"""What a source holds, before any file was opened, and whether classes can be learnt from it."""

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


class UnlabelledImage(NamedTuple):
    """A folder that is, by a link, the source itself or of another class than its ``home``."""

    path: Path
    target: Path
    home: Path

    def told(self, root: Path) -> str:
        """Return what it does, in a sentence; ``root`` is the folder of the source."""
        target = self.target.relative_to(root)
        place = "the folder of all images" if target == Path() else f"'{target.as_posix()}'"
        home = self.home.relative_to(root).as_posix()
        return f"by a link it is {place}, so that the images there count as '{home}' too"


@dataclass(frozen=True)
class Listing:
    """The images of a source.

    Attributes:
        source: as the user spelled it.
        root: folder by which the paths are shown.
        items: the images, each a file.
        hidden: how many hidden files and folders were skipped.
        ignored: how many files are no images, by lower-case extension (``""`` for none).
        stray: images outside every class folder; they are no items.
        empty_classes: class folders without an image; they are no classes.
        ood_images: out-of-distribution images, which show none of the classes; they are no items.
        again: folders that links reach a second time within their class; they are read once.
        astray: folders of a class that lead to the images of others.
    """

    source: str
    root: Path
    items: tuple[Item, ...]
    hidden: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    stray: tuple[Path, ...] = ()
    empty_classes: tuple[Path, ...] = ()
    ood_images: tuple[Path, ...] = ()
    again: tuple[Path, ...] = ()
    astray: tuple[UnlabelledImage, ...] = ()

    def shown(self, item: Item) -> str:
        """Return how a person knows an item: its file, or its place in the source."""
        if item.path.is_relative_to(self.root):
            return str(Path(self.source) / item.path.relative_to(self.root))
        return str(item.path)


def split_named(text: str) -> SplitName | None:
    """Return the split that a folder's or column's word means, None when it means none."""
    return SPLIT_WORDS.get(text.lower())


def class_name(text: str, *, told: str, hint: str = "rename it") -> str:
    """Return the name of a class in Unicode normal form C.

    Raises:
        DataError: it is not valid UTF-8; ``told`` says whose name it is, ``hint`` what to do.
    """
    try:
        text.encode()
    except UnicodeError:
        shown = text.encode(errors="surrogateescape")
        raise DataError(f"the name of {told} {shown!r} is not valid UTF-8", hint=hint) from None
    return unicodedata.normalize("NFC", text)


def check_classes(listing: Listing, *, min_classes: int, hint: str | None) -> None:
    """Refuse a listing that no classifier can be trained or measured with.

    Raises:
        DataError: it holds nothing, has too few classes, no training images beside its other
            parts, or classes that the training images do not have.
    """
    if not listing.items:
        raise DataError(f"{listing.source} holds no images", hint=hint)
    known = {item.label for item in listing.items if item.given_split in (None, "train")}
    if not known:
        given = next(item.given_split for item in listing.items)
        raise DataError(f"{listing.source} has {given} images, but no training images")
    _check_known(listing.items, known)
    if len(known) < min_classes:
        raise DataError(
            f"{listing.source} holds images of {len(known)} class only ({listed(sorted(known))});"
            f" a classifier needs at least {min_classes}",
            hint=hint,
        )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in quotes, the first ``most`` of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _check_known(items: Sequence[Item], known: set[str]) -> None:
    for split in SPLIT_NAMES[1:]:
        unknown = sorted({i.label for i in items if i.given_split == split} - known)
        if unknown:
            raise DataError(
                f"the {split} images have classes that the training images do not have:"
                f" {listed(unknown)} (known: {listed(sorted(known))})",
                hint="classes must have the same names in every split",
            )
