"""A folder of images: one folder per class, or ready train, validation and test folders."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.listing import Listing, UnlabelledImage, class_name, listed, split_named
from tltool.errors import DataError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".jp2", ".j2k", ".jpx", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"}
)
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
LAYOUT_HINT = "put the images of each class into a folder of their own: PHOTOS/cat, PHOTOS/dog"


class Entry(NamedTuple):
    """What lies in a folder: a file, or a folder, perhaps behind a link."""

    path: Path
    is_folder: bool


@dataclass
class _Found:
    """What the walk collects on its way."""

    items: list[Item] = field(default_factory=list)
    hidden: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    stray: list[Path] = field(default_factory=list)
    empty_classes: list[Path] = field(default_factory=list)
    ood_images: list[Path] = field(default_factory=list)
    again: list[Path] = field(default_factory=list)
    places: dict[tuple[int, int], Path] = field(default_factory=dict)
    walked: dict[tuple[int, int], tuple[Path, Path]] = field(default_factory=dict)
    astray: dict[Path, UnlabelledImage] = field(default_factory=dict)

    def place(self, folder: Path) -> None:
        """Note a folder that holds other images than those of one class; links come last."""
        identity = _identity(folder)
        if identity not in self.places or not folder.is_symlink():
            self.places[identity] = folder

    def check(self, folder: Path, home: Path) -> None:
        """Note a folder, below that of its class, which is by a link a place or in another class.

        Folders inside of a noted one are not noted again.
        """
        identity = _identity(folder)
        target = self.places.get(identity, folder)
        first, first_home = self.walked.setdefault(identity, (folder, home))
        if target == folder and first_home != home:
            target = first
            if folder.resolve().is_relative_to(home.resolve()):  # then it was a link to the first
                folder, home, target = first, first_home, folder
        if target != folder and self.astray.keys().isdisjoint((folder, *folder.parents)):
            self.astray[folder] = UnlabelledImage(folder, target, home)


def read_folder(root: Path, *, ood_images: str | None = None) -> Listing:
    """List the images below ``root`` with their labels.

    Labels are the names of the class folders, in Unicode normal form C. Symbolic links are
    followed, but no folder is read twice for one class.

    Args:
        root: holds the class folders, or train, val and test folders of such.
        ood_images: name of a folder beside them, and in each part, that is no class.

    Raises:
        DataError: the folder does not exist, may not be read, or holds no class folders.
    """
    found = _Found()
    _read_tree(root, found, ood_images)
    return Listing(
        source=str(root),
        root=root,
        items=tuple(found.items),
        hidden=found.hidden,
        ignored=dict(sorted(found.ignored.items())),
        stray=tuple(found.stray),
        empty_classes=tuple(found.empty_classes),
        ood_images=tuple(found.ood_images),
        again=tuple(found.again),
        astray=tuple(found.astray.values()),
    )


def list_images(folder: Path) -> Listing:
    """List every image below ``folder`` that is not hidden, in a fixed order, without labels.

    Raises:
        DataError: a folder may not be read.
    """
    found = _Found()
    items = tuple(Item(path=image, label="") for image in _images_below(folder, found))
    return Listing(
        source=str(folder),
        root=folder,
        items=items,
        hidden=found.hidden,
        ignored=dict(sorted(found.ignored.items())),
    )


def visible_entries(folder: Path) -> list[Entry]:
    """Return what lies directly in ``folder`` and is not hidden, in a fixed order.

    Raises:
        DataError: the folder may not be read.
    """
    return _visible(folder, _Found())


def _read_tree(root: Path, found: _Found, ood_images: str | None) -> None:
    folders = _without_ood_images(_class_folders(root, found), ood_images, found)
    splits = _as_splits(root, folders)
    found.place(root)
    parts: list[tuple[SplitName | None, list[Path]]] = []
    for split, folder in splits or ():
        found.place(folder)
        parts.append((split, _without_ood_images(_class_folders(folder, found), ood_images, found)))
    parts = parts or [(None, folders)]
    for _, classes in parts:
        for folder in classes:
            found.place(folder)
    for part, classes in parts:
        _read_classes(classes, part, found)


def _without_ood_images(folders: list[Path], ood_images: str | None, found: _Found) -> list[Path]:
    """Return the folders that are classes or parts; note the images of the one that is not."""
    for folder in folders:
        if folder.name == ood_images:
            found.ood_images += _images_below(folder, found)
    return [folder for folder in folders if folder.name != ood_images]


def _class_folders(root: Path, found: _Found) -> list[Path]:
    """Return the visible folders directly in ``root``; note the files that lie beside them."""
    _check_is_folder(root)
    folders: list[Path] = []
    stray: list[Path] = []
    for path, is_folder in _visible(root, found):
        if is_folder:
            folders.append(path)
        elif _is_image(path):
            stray.append(path)
        else:
            found.ignored[path.suffix.lower()] += 1
    if not folders:
        raise _no_class_folders(root, stray)
    found.stray += stray
    return folders


def _check_is_folder(root: Path) -> None:
    if not os.path.isdir(root):  # noqa: PTH112  (Path.is_dir raises without permission)
        raise DataError(f"there is no folder {root}", hint="check the path for a typo")


def _no_class_folders(root: Path, stray: list[Path]) -> DataError:
    if stray:
        return DataError(
            f"the {len(stray)} images in {root} lie directly in it, without class folders",
            hint=LAYOUT_HINT,
        )
    return DataError(f"the folder {root} holds no images", hint=LAYOUT_HINT)


def _as_splits(root: Path, folders: list[Path]) -> list[tuple[SplitName, Path]] | None:
    """Return the ready split folders, or None when ``folders`` are classes."""
    splits = [
        (split, folder) for folder in folders if (split := split_named(folder.name)) is not None
    ]
    names = [name for name, _ in splits]
    others = [folder.name for folder in folders if split_named(folder.name) is None]
    # A class may be called "train" too (a data set of vehicles): splits hold class folders.
    if not splits or (others and not all(_has_folders(folder) for _, folder in splits)):
        return None
    _check_splits(root, names, others)
    return splits


def _check_splits(root: Path, names: list[SplitName], others: list[str]) -> None:
    if others:
        raise DataError(
            f"{root} mixes ready splits with other folders ({listed(others)})",
            hint="keep only train, val and test there, or only class folders",
        )
    if "train" not in names:
        raise DataError(f"{root} has a {names[0]} folder, but no train folder")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{root} holds more than one {name} folder", hint="keep one of them")


def _has_folders(folder: Path) -> bool:
    return any(entry.is_folder for entry in visible_entries(folder))


def _read_classes(folders: list[Path], split: SplitName | None, found: _Found) -> None:
    for folder in folders:
        label = class_name(folder.name, told="the class folder")
        before = len(found.items)
        for path in _images_below(folder, found, of_class=True):
            found.items.append(Item(path=path, label=label, given_split=split))
        if len(found.items) == before:
            found.empty_classes.append(folder)


def _images_below(folder: Path, found: _Found, *, of_class: bool = False) -> Iterator[Path]:
    """Yield the images of a folder and of those in it, each folder once, in the order of names.

    Where it is that of a class, folders that lead to other images are noted.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [Entry(folder, is_folder=True)]  # no calls in calls: folders may lie very deep
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            if _is_image(path):
                yield path
            else:
                found.ignored[path.suffix.lower()] += 1
            continue
        identity = _identity(path)
        if identity in seen:
            found.again.append(path)
            continue
        seen.add(identity)
        if of_class:
            found.check(path, folder)
        waiting += reversed(_visible(path, found))


def _identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from every other, whatever links lead there."""
    try:
        status = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118  (the dot: may we enter?)
    except OSError as error:
        raise _unreadable(folder, error) from None
    return status.st_dev, status.st_ino


def _visible(folder: Path, found: _Found) -> list[Entry]:
    _identity(folder)
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from None
    visible = [entry for entry in entries if not _is_hidden(entry.name)]
    found.hidden += len(entries) - len(visible)
    return [Entry(folder / entry.name, _is_folder(entry)) for entry in visible]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself is left to the audit, like one to nothing
            return False
        raise DataError(
            f"the link {entry.path} cannot be followed: {error.strerror}",
            hint="remove it, or give yourself the right to read where it leads",
        ) from None


def _unreadable(folder: Path, error: OSError) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(f"the folder {folder} may not be read", hint=f"chmod u+rx {str(folder)!r}")
    return DataError(f"the folder {folder} cannot be read: {error.strerror}")


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_EXTENSIONS
