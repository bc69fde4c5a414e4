"""A folder of photos: one folder per class, or ready train, validation and test folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.data.sources.listing import Listing, class_name, listed, split_named
from tltool.errors import DataError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".jp2", ".j2k", ".jpx", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"}
)
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
LAYOUT_HINT = "put the photos of each class into a folder of their own: PHOTOS/cat, PHOTOS/dog"


@dataclass
class _Found:
    """What the walk collects on its way."""

    items: list[Item] = field(default_factory=list)
    hidden: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    stray: list[Path] = field(default_factory=list)
    empty_classes: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def read_folder(root: Path, *, other: str | None = None) -> Listing:
    """List the images below ``root`` with their labels.

    Labels are the names of the class folders, in Unicode normal form C. Symbolic links are
    followed, but never in circles.

    Args:
        root: holds the class folders, or train, val and test folders of such.
        other: name of a folder beside them, and in each part, that is no class.

    Raises:
        DataError: the folder does not exist, may not be read, or holds no class folders.
    """
    found = _Found()
    _read_tree(root, found, other)
    return Listing(
        source=str(root),
        root=root,
        items=tuple(found.items),
        hidden=found.hidden,
        ignored=dict(sorted(found.ignored.items())),
        stray=tuple(found.stray),
        empty_classes=tuple(found.empty_classes),
        others=tuple(found.others),
    )


def find_images(folder: Path) -> list[Path]:
    """Return every image below ``folder`` that is not hidden, in a fixed order.

    Raises:
        DataError: a folder may not be read.
    """
    return list(_images_below(folder, _Found(), frozenset()))


def visible_entries(folder: Path) -> list[Path]:
    """Return what lies directly in ``folder`` and is not hidden, in a fixed order.

    Raises:
        DataError: the folder may not be read.
    """
    return _visible(folder, _Found())


def _read_tree(root: Path, found: _Found, other: str | None) -> None:
    folders = _without_other(_class_folders(root, found), other, found)
    splits = _as_splits(root, folders)
    if splits is None:
        _read_classes(folders, None, found)
        return
    for split, folder in splits:
        _read_classes(_without_other(_class_folders(folder, found), other, found), split, found)


def _without_other(folders: list[Path], other: str | None, found: _Found) -> list[Path]:
    """Return the folders that are classes or parts; note the images of the one that is not."""
    for folder in folders:
        if folder.name == other:
            found.others += _images_below(folder, found, frozenset())
    return [folder for folder in folders if folder.name != other]


def _class_folders(root: Path, found: _Found) -> list[Path]:
    """Return the visible folders directly in ``root``; note the files that lie beside them."""
    _check_is_folder(root)
    folders: list[Path] = []
    stray: list[Path] = []
    for entry in _visible(root, found):
        if entry.is_dir():
            folders.append(entry)
        elif _is_image(entry):
            stray.append(entry)
        else:
            found.ignored[entry.suffix.lower()] += 1
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
    return DataError(f"the folder {root} holds no photos", hint=LAYOUT_HINT)


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
    return any(entry.is_dir() for entry in visible_entries(folder))


def _read_classes(folders: list[Path], split: SplitName | None, found: _Found) -> None:
    for folder in folders:
        label = class_name(folder.name, told="the class folder")
        before = len(found.items)
        for path in _images_below(folder, found, parents=frozenset()):
            found.items.append(Item(path=path, label=label, given_split=split))
        if len(found.items) == before:
            found.empty_classes.append(folder)


def _images_below(
    folder: Path, found: _Found, parents: frozenset[tuple[int, int]]
) -> Iterator[Path]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in parents:  # a symbolic link back to a folder that we are in
        return
    for entry in _visible(folder, found):
        if entry.is_dir():
            yield from _images_below(entry, found, parents | {identity})
        elif _is_image(entry):
            yield entry
        else:
            found.ignored[entry.suffix.lower()] += 1


def _visible(folder: Path, found: _Found) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except PermissionError:
        raise DataError(
            f"the folder {folder} may not be read", hint=f"chmod u+rx {str(folder)!r}"
        ) from None
    visible = [entry for entry in entries if not _is_hidden(entry.name)]
    found.hidden += len(entries) - len(visible)
    return visible


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_EXTENSIONS
