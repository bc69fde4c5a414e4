"""Lists a folder of images: one folder per class, or train, validation and test folders."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.listing import CrossClassLink, Listing, class_name, listed, split_named
from tltool.errors import DataError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".jp2", ".j2k", ".jpx", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"}
)
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
LAYOUT_HINT = "put the images of each class into a separate folder: DATA/cat, DATA/dog"


class Entry(NamedTuple):
    """An entry of a folder: a file or a folder, possibly a symbolic link to one."""

    path: Path
    is_folder: bool


@dataclass
class _Walk:
    """The results of a walk through a tree of folders."""

    items: list[Item] = field(default_factory=list)
    hidden: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    stray: list[Path] = field(default_factory=list)
    empty_classes: list[Path] = field(default_factory=list)
    ood_images: list[Path] = field(default_factory=list)
    repeated_folders: list[Path] = field(default_factory=list)
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


def read_folder(root: Path, *, ood_images: str | None = None) -> Listing:
    """List the images below ``root`` with their labels.

    Labels are the names of the class folders, in Unicode normal form C. Symbolic links are
    followed, but no folder is read twice for one class.

    Args:
        root: contains the class folders, or train, val and test folders with class folders.
        ood_images: name of a folder of out-of-distribution images next to the class folders.

    Raises:
        DataError: the folder does not exist, cannot be read, or contains no class folders.
    """
    walk = _Walk()
    _read_tree(root, walk, ood_images)
    return Listing(
        source=str(root),
        root=root,
        items=tuple(walk.items),
        hidden=walk.hidden,
        ignored=dict(sorted(walk.ignored.items())),
        stray=tuple(walk.stray),
        empty_classes=tuple(walk.empty_classes),
        ood_images=tuple(walk.ood_images),
        repeated_folders=tuple(walk.repeated_folders),
        cross_class_links=tuple(walk.cross_class_links.values()),
    )


def list_images(folder: Path) -> Listing:
    """List every image below ``folder`` that is not hidden, in a fixed order, without labels.

    Raises:
        DataError: a folder cannot be read.
    """
    walk = _Walk()
    items = tuple(Item(path=image, label="") for image in _images_below(folder, walk))
    return Listing(
        source=str(folder),
        root=folder,
        items=items,
        hidden=walk.hidden,
        ignored=dict(sorted(walk.ignored.items())),
    )


def visible_entries(folder: Path) -> list[Entry]:
    """Return the entries of ``folder`` that are not hidden, in a fixed order.

    Raises:
        DataError: the folder cannot be read.
    """
    return _visible(folder, _Walk())


def _read_tree(root: Path, walk: _Walk, ood_images: str | None) -> None:
    folders = _without_ood_images(_class_folders(root, walk), ood_images, walk)
    splits = _as_splits(root, folders)
    walk.add_boundary(root)
    by_split: list[tuple[SplitName | None, list[Path]]] = []
    for name, folder in splits or ():
        walk.add_boundary(folder)
        classes = _without_ood_images(_class_folders(folder, walk), ood_images, walk)
        by_split.append((name, classes))
    by_split = by_split or [(None, folders)]
    for _, classes in by_split:
        for folder in classes:
            walk.add_boundary(folder)
    for split, classes in by_split:
        _read_classes(classes, split, walk)


def _without_ood_images(folders: list[Path], ood_images: str | None, walk: _Walk) -> list[Path]:
    """Return the other folders, and record the out-of-distribution images."""
    for folder in folders:
        if folder.name == ood_images:
            walk.ood_images += _images_below(folder, walk)
    return [folder for folder in folders if folder.name != ood_images]


def _class_folders(root: Path, walk: _Walk) -> list[Path]:
    """Return the visible folders directly in ``root``, and record the files next to them."""
    _check_is_folder(root)
    folders: list[Path] = []
    stray: list[Path] = []
    for path, is_folder in _visible(root, walk):
        if is_folder:
            folders.append(path)
        elif _is_image(path):
            stray.append(path)
        else:
            walk.ignored[path.suffix.lower()] += 1
    if not folders:
        raise _no_class_folders(root, stray)
    walk.stray += stray
    return folders


def _check_is_folder(root: Path) -> None:
    if not os.path.isdir(root):  # noqa: PTH112  (Path.is_dir raises without permission)
        raise DataError(f"there is no folder {root}", hint="check the path for a typo")


def _no_class_folders(root: Path, stray: list[Path]) -> DataError:
    if stray:
        return DataError(
            f"the {len(stray)} images in {root} are not in class folders",
            hint=LAYOUT_HINT,
        )
    return DataError(f"the folder {root} contains no images", hint=LAYOUT_HINT)


def _as_splits(root: Path, folders: list[Path]) -> list[tuple[SplitName, Path]] | None:
    """Return the train, validation and test folders, or None when ``folders`` are classes."""
    splits = [
        (split, folder) for folder in folders if (split := split_named(folder.name)) is not None
    ]
    names = [name for name, _ in splits]
    other_folders = [folder.name for folder in folders if split_named(folder.name) is None]
    # "train" may be a class (in a data set of vehicles); split folders contain class folders.
    if not splits or (other_folders and not all(_has_folders(folder) for _, folder in splits)):
        return None
    _check_splits(root, names, other_folders)
    return splits


def _check_splits(root: Path, names: list[SplitName], other_folders: list[str]) -> None:
    if other_folders:
        raise DataError(
            f"{root} contains split folders and other folders ({listed(other_folders)})",
            hint="keep either the train, val and test folders, or class folders",
        )
    if "train" not in names:
        raise DataError(f"{root} has a {names[0]} folder, but no train folder")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{root} contains more than one {name} folder", hint="keep one of them")


def _has_folders(folder: Path) -> bool:
    return any(entry.is_folder for entry in visible_entries(folder))


def _read_classes(folders: list[Path], split: SplitName | None, walk: _Walk) -> None:
    for folder in folders:
        label = class_name(folder.name, described_as="the class folder")
        before = len(walk.items)
        for path in _images_below(folder, walk, of_class=True):
            walk.items.append(Item(path=path, label=label, given_split=split))
        if len(walk.items) == before:
            walk.empty_classes.append(folder)


def _images_below(folder: Path, walk: _Walk, *, of_class: bool = False) -> Iterator[Path]:
    """Yield the images below a folder in the order of names; each folder is read once.

    Of a class folder, links to images of other classes are recorded.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [Entry(folder, is_folder=True)]  # not recursive: folders may be nested very deep
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            if _is_image(path):
                yield path
            else:
                walk.ignored[path.suffix.lower()] += 1
            continue
        identity = _identity(path)
        if identity in visited:
            walk.repeated_folders.append(path)
            continue
        visited.add(identity)
        if of_class:
            walk.check_link(path, folder)
        waiting += reversed(_visible(path, walk))


def _identity(folder: Path) -> tuple[int, int]:
    """Return device and inode of a folder, which are the same through every link."""
    try:
        status = os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118  (the dot checks the permission to enter)
    except OSError as error:
        raise _unreadable(folder, error) from None
    return status.st_dev, status.st_ino


def _visible(folder: Path, walk: _Walk) -> list[Entry]:
    _identity(folder)
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from None
    visible = [entry for entry in entries if not _is_hidden(entry.name)]
    walk.hidden += len(entries) - len(visible)
    return [Entry(folder / entry.name, _is_folder(entry)) for entry in visible]


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


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_EXTENSIONS
