"""The list of the images of a source, before any file is opened."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from tltool.data.catalog import SPLIT_NAMES, Item, SplitName
from tltool.data.item_columns import ItemColumns, as_columns
from tltool.errors import DataError, one_line, some_of
from tltool.recipe.source_text import is_remote
from tltool.storage.address import address_of_copy

LAYOUT_HINT = "put the images of each class into a separate folder: DATA/cat, DATA/dog"
SPLIT_WORDS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
_BLANKS = r"[\s\u200b-\u200f\u2060\ufeff\x00]"  # some are of no width
_BLANK_ENDS = re.compile(f"^{_BLANKS}+|{_BLANKS}+$")


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


Severity = Literal["serious", "warning", "note"]


class LayoutNote(NamedTuple):
    """A remark about a folder of a source: how it is read, or why it is not.

    Attributes:
        path: the folder, or the file.
        kind: a short name from a fixed set.
        detail: a description.
        suggestion: what to do about it; may be empty.
        severity: ``serious`` if the labels are probably wrong, ``warning`` for something to check,
            ``note`` for information.
    """

    path: Path
    kind: str
    detail: str
    suggestion: str = ""
    severity: Severity = "note"

    def describe(self, root: Path) -> str:
        """Return a sentence; ``root`` is the folder of the source."""
        name = self.path.relative_to(root).as_posix() if self.path.is_relative_to(root) else "."
        place = "" if name == "." else f"'{one_line(name)}': "
        return f"{place}{self.detail}" + (f"; {self.suggestion}" if self.suggestion else "")


@dataclass(frozen=True)
class Listing:
    """The images of a source.

    Attributes:
        source: as the user spelled it.
        root: displayed paths are relative to this folder.
        items: the images, each a file; kept as columns, whatever sequence is given.
        hidden: number of hidden files and folders, which are skipped.
        ignored: number of other files by lower-case extension (``""`` for none).
        stray: images outside the class folders, which are not items.
        empty_classes: class folders without images, which are not classes.
        ood_images: out-of-distribution images, which show none of the classes and are not items.
        repeated_folders: links to a folder that its class already contains; it is read once.
        cross_class_links: links to images outside of the class.
        other_files: a few of the files counted in ``ignored``.
        misnamed: files that begin as an image does, but have no extension of an image.
        notes: about the layout of the folders.
        addresses: folders of copies to the address of the objects that are copied there; the first
            one that contains a file counts.
    """

    source: str
    root: Path
    items: Sequence[Item]
    hidden: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    stray: tuple[Path, ...] = ()
    empty_classes: tuple[Path, ...] = ()
    ood_images: tuple[Path, ...] = ()
    repeated_folders: tuple[Path, ...] = ()
    cross_class_links: tuple[CrossClassLink, ...] = ()
    other_files: tuple[Path, ...] = ()
    misnamed: tuple[Path, ...] = ()
    notes: tuple[LayoutNote, ...] = ()
    addresses: tuple[tuple[Path, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", as_columns(self.items))

    @property
    def columns(self) -> ItemColumns:
        """The items as columns."""
        return as_columns(self.items)

    def shown(self, item: Item) -> str:
        """Return the displayed path of an item: in the source as the user named it, or its file."""
        return self.shown_path(item.path)

    def shown_path(self, path: Path) -> str:
        """Return the displayed path of a file, as ``shown`` does."""
        if address := address_of_copy(path, self.addresses):
            return address
        if path.is_relative_to(self.root) and is_remote(self.source):
            return f"{self.source.rstrip('/')}/{path.relative_to(self.root).as_posix()}"
        if path.is_relative_to(self.root):
            return str(Path(self.source) / path.relative_to(self.root))
        return str(path)


def split_named(text: str) -> SplitName | None:
    """Return the split that a folder or a cell names, None if it names none."""
    return SPLIT_WORDS.get(text.lower())


def class_name(text: str, *, described_as: str, hint: str = "rename it") -> str:
    """Return the name of a class in Unicode normal form C, without blanks at its ends.

    Args:
        text: the name; if empty, it is returned.
        described_as: what has this name, for the error.
        hint: what to do about an invalid name.

    Raises:
        DataError: it is not valid UTF-8, or has only blanks.
    """
    try:
        text.encode()
    except UnicodeError:
        shown = text.encode(errors="surrogateescape")
        raise DataError(
            f"the name of {described_as} {shown!r} is not valid UTF-8", hint=hint
        ) from None
    name = _BLANK_ENDS.sub("", unicodedata.normalize("NFC", text))
    if text and not name:
        raise DataError(f"the name of {described_as} has only blanks: {text!a}", hint=hint)
    return name


def check_classes(listing: Listing, *, min_classes: int, hint: str | None) -> None:
    """Check that a classifier can be trained or evaluated on a listing.

    Raises:
        DataError: it is empty, has too few classes, no training images, or classes without
            training images.
    """
    if not listing.items:
        raise DataError(f"{listing.source} contains no images", hint=hint)
    given = listing.columns.rows["given_split"]
    known = set(listing.columns.classes((given < 0) | (given == SPLIT_NAMES.index("train"))))
    if not known:
        split = listing.items[0].given_split
        raise DataError(f"{listing.source} has {split} images, but no training images")
    _check_known(listing.columns, known)
    if len(known) < min_classes:
        raise DataError(
            f"{listing.source} has only {len(known)} class ({listed(sorted(known))});"
            f" a classifier needs at least {min_classes}",
            hint=hint,
        )


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return the first ``most`` names in quotes, and the number of the others."""
    return some_of([repr(name) for name in names], most)


def _check_known(items: ItemColumns, known: set[str]) -> None:
    for split in SPLIT_NAMES[1:]:
        given = items.rows["given_split"]
        present = set(items.classes(given == SPLIT_NAMES.index(split)))
        unknown = sorted(present - known)
        if unknown:
            hint = "use the same class names in every split"
            if len(present) == 1:
                hint = (
                    f"if the images of {unknown[0]!r} have no labels, move them out of the data set"
                    f" and classify them with tltool predict; otherwise {hint}"
                )
            raise DataError(
                f"the {split} images have classes that the training images do not have:"
                f" {listed(unknown)} (known: {listed(sorted(known))})",
                hint=hint,
            )
