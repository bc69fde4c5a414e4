"""What the folders below the classes say: splits inside of the classes, or classes inside."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tltool.data.catalog import SplitName
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.folders.folder_names import Role, part_named
from tltool.data.sources.listing import LayoutNote, listed

_FEWEST = 2  # folders that two classes must have in common


def with_splits_below(
    items: ItemColumns, subfolders: Sequence[str | None]
) -> tuple[ItemColumns, str | None]:
    """Return the items with the splits of ``cats/train`` and ``cats/test``.

    The folders are splits if all images of all classes are in such folders.

    Args:
        items: the images of a source without splits.
        subfolders: for each item, the first folder below its class folder, None without one.

    Returns:
        The items, and why the folders with the names of splits are not used, None if they are or
        there are none.
    """
    roles = {name: _role(name) for name in set(subfolders)}
    present = set(roles.values()) - {None}
    if "train" not in present or len(present) < _FEWEST:
        return items, None
    if None in roles.values():
        named = sorted(name for name, role in roles.items() if name is not None and role)
        return items, (
            f"some class folders contain folders named {listed(named)}, but other images are not"
            " in such folders; the names are ignored"
        )
    evaluation: SplitName = "validation" if "test" in present else "test"
    splits = {n: evaluation if role == "eval" else role for n, role in roles.items() if role}
    with_splits = (
        replace(item, given_split=splits[name])
        for item, name in zip(items, subfolders, strict=True)
        if name is not None
    )
    return ItemColumns(with_splits), None


def _role(name: str | None) -> Role | None:
    part = part_named(name) if name is not None else None
    return part.role if part is not None and not part.rest else None


def subfolders_below(folder: Path, images: Sequence[Path]) -> list[str | None]:
    """Return the first folder of each image below its class folder, None without one.

    A folder around all of them is passed over (``amazon/images/bike``), unless it is named like a
    split.
    """
    start = len(os.fspath(folder)) + 1
    paths = [os.fspath(path)[start:] for path in images]
    while True:
        firsts = [
            sys.intern(path.partition(os.sep)[0]) if os.sep in path else None for path in paths
        ]
        shared = set(firsts)
        only = shared.pop() if len(shared) == 1 else None
        inside = [path.partition(os.sep)[2] for path in paths]
        if only is None or _role(only) is not None or not all(os.sep in path for path in inside):
            return firsts
        paths = inside


def same_subfolders_note(
    root: Path, items: ItemColumns, subfolders: Sequence[str | None]
) -> LayoutNote | None:
    """Return a note if classes contain the same folders, which may be the real classes.

    So it is with ``alpha/ants``, ``alpha/bees``, ``beta/ants`` and ``beta/bees``: are ``alpha`` and
    ``beta`` classes, or parts of the data set?
    """
    inside: dict[str, set[str | None]] = defaultdict(set)
    for label, name in set(zip(items.labels(), subfolders, strict=True)):
        inside[label].add(name)
    for label, names in inside.items():
        siblings = names & (inside.keys() - {label})
        if len(siblings) >= _FEWEST:
            shown = listed(sorted(name for name in siblings if name is not None), 4)
            detail = f"the class {label!r} contains folders named like other classes ({shown})"
            mend = "move it out of the data set if it is a copy of them"
            return LayoutNote(root, "same folders in all classes", detail, mend, "serious")
    if len(inside) < _FEWEST or any(None in names for names in inside.values()):
        return None
    common = set.intersection(*inside.values())
    if len(common) < _FEWEST:
        return _folders_in_classes_note(root, inside)
    shown = listed(sorted(name for name in common if name is not None), 4)
    detail = f"the classes {listed(sorted(inside), 4)} contain the same folders ({shown})"
    mend = "if those are the classes, rename the folders around them to train, val and test"
    return LayoutNote(root, "same folders in all classes", detail, mend, "warning")


def _folders_in_classes_note(
    root: Path, inside: Mapping[str, set[str | None]]
) -> LayoutNote | None:
    """Return a note if all classes consist of folders with names like classes (``a/abbey``).

    Names with digits are rather those of patients, days and videos.
    """
    names = [name for each in inside.values() for name in each if name is not None]
    if any(re.search(r"\d", name) for name in names) or len(names) < _FEWEST * len(inside):
        return None
    label, first = min((label, min(filter(None, each))) for label, each in inside.items())
    detail = f"the classes consist of {len(names):,} folders such as '{label}/{first}'"
    mend = "if those are the classes, move them one folder up"
    return LayoutNote(root, "same folders in all classes", detail, mend)
