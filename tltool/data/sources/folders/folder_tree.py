"""Walks through a tree of folders: entries, links, and what is passed over."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tltool.data.decoding.extensions import IMAGE_EXTENSIONS
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.folders.folder_names import is_hidden_name
from tltool.data.sources.folders.other_files import OtherFiles
from tltool.data.sources.listing import CrossClassLink, LayoutNote
from tltool.errors import DataError


class Entry(NamedTuple):
    """An entry of a folder: a file or a folder, possibly a symbolic link to one."""

    path: Path
    is_folder: bool


@dataclass
class FolderWalk:
    """The results of a walk through a tree of folders; see ``Listing`` for most of them.

    Attributes:
        subfolders: for each of ``items``, the first folder below its class folder, None without.
        boundaries: class folders and the folders above them, by identity.
        visited: for each folder, the first path and class folder it was read for.
    """

    items: ItemColumns = field(default_factory=ItemColumns)
    subfolders: list[str | None] = field(default_factory=list)
    hidden: int = 0
    others: OtherFiles = field(default_factory=OtherFiles)
    stray: list[Path] = field(default_factory=list)
    empty_classes: list[Path] = field(default_factory=list)
    ood_images: list[Path] = field(default_factory=list)
    repeated_folders: list[Path] = field(default_factory=list)
    notes: list[LayoutNote] = field(default_factory=list)
    boundaries: dict[tuple[int, int], Path] = field(default_factory=dict)
    visited: dict[tuple[int, int], tuple[Path, Path]] = field(default_factory=dict)
    cross_class_links: dict[Path, CrossClassLink] = field(default_factory=dict)

    def add_boundary(self, folder: Path) -> None:
        """Record a class folder or one above it; a real folder replaces a link to it."""
        identity = _identity(folder)
        if identity not in self.boundaries or not folder.is_symlink():
            self.boundaries[identity] = folder

    def check_link(self, folder: Path, class_folder: Path) -> None:
        """Record a folder inside ``class_folder`` if it is a link to images of another class.

        Folders inside a recorded one are not recorded again.
        """
        identity = _identity(folder)
        target = self.boundaries.get(identity, folder)
        first, first_class = self.visited.setdefault(identity, (folder, class_folder))
        if target == folder and first_class != class_folder:
            target = first
            if folder.resolve().is_relative_to(
                class_folder.resolve()
            ):  # then the first is the link
                folder, class_folder, target = first, first_class, folder
        recorded = self.cross_class_links.keys()
        if target != folder and recorded.isdisjoint((folder, *folder.parents)):
            self.cross_class_links[folder] = CrossClassLink(folder, target, class_folder)

    def visible(self, folder: Path) -> list[Entry]:
        """Return the visible entries of a folder in the order of names, and count the others.

        Raises:
            DataError: the folder cannot be read.
        """
        entries = sorted(_scan(folder), key=lambda entry: entry.name)
        visible = [entry for entry in entries if not is_hidden_name(entry.name)]
        self.hidden += len(entries) - len(visible)
        return [Entry(folder / entry.name, _is_folder(entry)) for entry in visible]

    def images_below(self, folder: Path, *, of_class: bool = False) -> Iterator[Path]:
        """Yield the images below a folder in the order of names; each folder is read once.

        Of a class folder, links to images of other classes are recorded.
        """
        visited: set[tuple[int, int]] = set()
        waiting = [Entry(folder, is_folder=True)]  # not recursive: folders may be nested very deep
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
                if is_image(path):
                    yield path
                else:
                    self.others.add(path)
                continue
            identity = _identity(path)
            if identity in visited:
                self.repeated_folders.append(path)
                continue
            visited.add(identity)
            if of_class:
                self.check_link(path, folder)
            waiting += reversed(self.visible(path))


def visible_entries(folder: Path) -> list[Entry]:
    """Return the entries of ``folder`` that are not hidden, in a fixed order.

    Raises:
        DataError: the folder cannot be read.
    """
    return FolderWalk().visible(folder)


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders directly in ``folder`` that are not hidden, in a fixed order.

    Raises:
        DataError: the folder cannot be read.
    """
    return [entry.path for entry in visible_entries(folder) if entry.is_folder]


def holds_images(folder: Path) -> bool:
    """Return whether there is an image in or below ``folder``; stops at the first one.

    Raises:
        DataError: a folder cannot be read.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        identity = _identity(place)
        if identity in visited:
            continue
        visited.add(identity)
        inside = []
        for entry in _scan(place):
            if is_hidden_name(entry.name):
                continue
            if _is_folder(entry):
                inside.append(place / entry.name)
            elif is_image(Path(entry.name)):
                return True
        waiting += inside
    return False


def image_folders(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder`` that contain images, at any depth.

    Raises:
        DataError: a folder cannot be read.
    """
    return [inside for inside in visible_folders(folder) if holds_images(inside)]


def has_direct_images(folder: Path) -> bool:
    """Return whether a visible image is directly in ``folder``.

    Raises:
        DataError: the folder cannot be read.
    """
    return any(not entry.is_folder and is_image(entry.path) for entry in visible_entries(folder))


def is_image(path: Path) -> bool:
    """Return whether a file name has the extension of an image."""
    return path.suffix.lower() in IMAGE_EXTENSIONS


def _identity(folder: Path) -> tuple[int, int]:
    """Return device and inode of a folder, which are the same through every link."""
    try:
        status = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118  (the dot checks the permission to enter)
    except OSError as error:
        raise _unreadable(folder, error) from None
    return status.st_dev, status.st_ino


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    _identity(folder)
    try:
        with os.scandir(folder) as scan:
            return list(scan)
    except OSError as error:
        raise _unreadable(folder, error) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link loop is reported by the audit, like a broken link
            return False
        raise DataError(
            f"the link {entry.path} cannot be followed: {error.strerror}",
            hint="remove it, or get permission to read its target",
        ) from None


def _unreadable(folder: Path, error: OSError) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(
            f"no permission to read the folder {folder}", hint=f"chmod u+rx {str(folder)!r}"
        )
    return DataError(f"the folder {folder} cannot be read: {error.strerror}")
