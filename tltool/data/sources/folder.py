"""A folder of photos: one folder per class, or ready train, validation and test folders."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.errors import DataError

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".jp2", ".j2k", ".jpx", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".avif"}
)
SPLIT_FOLDERS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_LAYOUT_HINT = "put the photos of each class into a folder of their own: PHOTOS/cat, PHOTOS/dog"


@dataclass(frozen=True)
class Listing:
    """What a folder holds, before any file was opened.

    ``hidden`` counts skipped hidden files and folders, ``ignored`` the files that are no images
    by lower-case extension (``""`` for none). ``stray`` are images outside every class folder
    and ``empty_classes`` class folders without an image: neither becomes a class or an item.
    """

    root: Path
    items: tuple[Item, ...]
    hidden: int
    ignored: Mapping[str, int]
    stray: tuple[Path, ...] = ()
    empty_classes: tuple[Path, ...] = ()


@dataclass
class _Found:
    """What the walk collects on its way."""

    items: list[Item] = field(default_factory=list)
    hidden: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    stray: list[Path] = field(default_factory=list)
    empty_classes: list[Path] = field(default_factory=list)


def read_folder(root: Path, *, test: Path | None = None, min_classes: int = 2) -> Listing:
    """List the images below ``root`` (and of a separate ``test`` folder) with their labels.

    Labels are the names of the class folders, in Unicode normal form C. Symbolic links are
    followed, but never in circles.

    Raises:
        DataError: a folder does not exist or holds no class folders with images, there are fewer
            than ``min_classes`` classes, or a class occurs that the training photos do not have.
    """
    found = _Found()
    _read_tree(root, found)
    if test is not None:
        _read_test(test, found)
    _check_classes(root, found, min_classes)
    return Listing(
        root=root,
        items=tuple(found.items),
        hidden=found.hidden,
        ignored=dict(sorted(found.ignored.items())),
        stray=tuple(found.stray),
        empty_classes=tuple(found.empty_classes),
    )


def find_images(folder: Path) -> list[Path]:
    """Return every image below ``folder`` that is not hidden, in a fixed order.

    Raises:
        DataError: a folder may not be read.
    """
    return list(_images_below(folder, _Found(), frozenset()))


def _read_tree(root: Path, found: _Found) -> None:
    folders = _class_folders(root, found)
    splits = _as_splits(root, folders)
    if splits is None:
        _read_classes(folders, None, found)
        return
    for split, folder in splits:
        _read_classes(_class_folders(folder, found), split, found)


def _read_test(test: Path, found: _Found) -> None:
    if any(item.given_split == "test" for item in found.items):
        raise DataError(
            f"there are two test sets: the folder {test} and the test folder inside the photos",
            hint="leave out --test, or move the inner test folder away",
        )
    _read_classes(_class_folders(test, found), "test", found)


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
    if not root.exists():
        raise DataError(f"there is no folder {root}", hint="check the path for a typo")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder of photos", hint=_LAYOUT_HINT)


def _no_class_folders(root: Path, stray: list[Path]) -> DataError:
    if stray:
        return DataError(
            f"the {len(stray)} images in {root} lie directly in it, without class folders",
            hint=_LAYOUT_HINT,
        )
    return DataError(f"the folder {root} holds no photos", hint=_LAYOUT_HINT)


def _as_splits(root: Path, folders: list[Path]) -> list[tuple[SplitName, Path]] | None:
    """Return the ready split folders, or None when ``folders`` are classes."""
    splits = [
        (SPLIT_FOLDERS[folder.name.lower()], folder)
        for folder in folders
        if folder.name.lower() in SPLIT_FOLDERS
    ]
    names = [name for name, _ in splits]
    others = [folder.name for folder in folders if folder.name.lower() not in SPLIT_FOLDERS]
    # A class may be called "train" too (a data set of vehicles): splits hold class folders.
    if not splits or (others and not all(_has_folders(folder) for _, folder in splits)):
        return None
    _check_splits(root, names, others)
    return splits


def _check_splits(root: Path, names: list[SplitName], others: list[str]) -> None:
    if others:
        raise DataError(
            f"{root} mixes ready splits with other folders ({_listed(others)})",
            hint="keep only train, val and test there, or only class folders",
        )
    if "train" not in names:
        raise DataError(f"{root} has a {names[0]} folder, but no train folder")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{root} holds more than one {name} folder", hint="keep one of them")


def _has_folders(folder: Path) -> bool:
    return any(entry.is_dir() and not _is_hidden(entry.name) for entry in folder.iterdir())


def _read_classes(folders: list[Path], split: SplitName | None, found: _Found) -> None:
    for folder in folders:
        label = _label(folder)
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


def _label(folder: Path) -> str:
    try:
        os.fsencode(folder.name).decode()
    except UnicodeDecodeError:
        raise DataError(
            f"the name of the class folder {os.fsencode(folder)!r} is not valid UTF-8",
            hint="rename it",
        ) from None
    return unicodedata.normalize("NFC", folder.name)


def _check_classes(root: Path, found: _Found, min_classes: int) -> None:
    if not found.items:
        raise DataError(f"the folder {root} holds no photos", hint=_LAYOUT_HINT)
    known = sorted({item.label for item in found.items if item.given_split in (None, "train")})
    _check_known(found.items, set(known))
    if len(known) < min_classes:
        raise DataError(
            f"{root} holds photos of {len(known)} class only ({_listed(known)});"
            f" a classifier needs at least {min_classes}",
            hint=_LAYOUT_HINT,
        )


def _check_known(items: list[Item], known: set[str]) -> None:
    for split in ("validation", "test"):
        unknown = sorted({i.label for i in items if i.given_split == split} - known)
        if unknown:
            raise DataError(
                f"the {split} photos have classes that the training photos do not have:"
                f" {_listed(unknown)} (known: {_listed(sorted(known))})",
                hint="class folders must have the same names in every split",
            )


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
