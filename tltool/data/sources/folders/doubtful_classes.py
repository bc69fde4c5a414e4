"""Class folders that are probably no classes: parts of one set, paired images, other folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tltool.data.sources.folders.folder_names import (
    is_annotation_name,
    is_annotations_of,
    is_annotations_only,
    is_documentation_name,
    is_part_name,
    is_plain_images_name,
    is_unlabelled_name,
)
from tltool.data.sources.folders.paired_images import describe_pairs, find_paired_folders
from tltool.data.sources.listing import LayoutNote, listed

KIND = "unusual class folder"
_MOVE = "move it out of the data set if it is no class"


def doubtful_class_notes(place: Path, folders: Sequence[Path]) -> Iterator[LayoutNote]:
    """Yield a note for each of the class folders that is probably none.

    Args:
        place: contains the class folders.
        folders: the class folders that contain images.
    """
    if len(folders) < 2:
        return
    parts = _numbered_parts(place, folders)
    if parts is not None:
        yield parts
        return
    for folder in folders:
        others = [each for each in folders if each != folder]
        why = _why_no_class(folder, others)
        if why:
            detail = f"used as a class, but named like a folder of {why}"
            yield LayoutNote(folder, KIND, detail, _MOVE, "warning")
    for pair in find_paired_folders(folders):
        mend = "a classifier needs one folder per class: give a table with the columns path"
        mend += " and label if they are none"
        yield LayoutNote(place, KIND, describe_pairs(pair), mend, "warning")


def _numbered_parts(place: Path, folders: Sequence[Path]) -> LayoutNote | None:
    """Return a note if the folders are ``images_001``, ``images_002``: parts of one set."""
    stems = {re.sub(r"\d+", "", folder.name).lower() for folder in folders}
    if len(stems) != 1 or not is_part_name(stems.pop()):
        return None
    names = listed([folder.name for folder in folders], 3)
    detail = f"the names of the classes ({names}) differ only in a number, as parts of one set do"
    mend = "if they are no classes, give a table with the columns path and label"
    return LayoutNote(place, KIND, detail, mend, "serious")


def _why_no_class(folder: Path, others: Sequence[Path]) -> str | None:
    """Return what the name of a folder says instead of a class, None if nothing."""
    name = folder.name
    masks = [each.name for each in others if is_annotation_name(each.name)]
    if is_annotations_only(name) and not all(map(is_annotations_only, masks)):
        return None  # such as masks and no_masks
    if is_plain_images_name(name) or is_annotations_only(name):
        return "images or annotations"
    if any(is_annotations_of(name, each.name) for each in others):
        return "annotations"
    if is_unlabelled_name(name):
        return "images without labels"
    return "documentation or results" if is_documentation_name(name) else None
