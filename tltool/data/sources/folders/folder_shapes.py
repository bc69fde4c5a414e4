"""What the content of a folder shows: folders of classes, of images and masks, or none."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path

from tltool.data.sources.folders.folder_names import (
    is_annotation_name,
    is_image_folder_name,
    is_unlabelled_name,
    part_named,
)
from tltool.data.sources.folders.folder_tree import (
    has_direct_images,
    image_folders,
    visible_folders,
)
from tltool.errors import DataError

MOST_WRAPPED = 50
"""Folders around the classes; a chain of links may be endless."""
_MOST_BESIDE = 20  # folders beside one that are looked at for a hint


def is_no_class(folder: Path) -> bool:
    """Return whether a folder, the only one with images, is not named after a class."""
    part = part_named(folder.name)
    is_split = part is not None and not part.rest
    return is_split or is_image_folder_name(folder.name) or is_unlabelled_name(folder.name)


def has_only_image_folders(folder: Path) -> bool:
    """Return whether a folder consists of folders of images and annotations."""
    return not has_direct_images(folder) and all(
        is_image_folder_name(inside.name) or is_annotation_name(inside.name)
        for inside in image_folders(folder)
    )


def wraps_folders(folder: Path) -> bool:
    """Return whether a folder contains no images, but, possibly further down, several folders."""
    for _ in range(MOST_WRAPPED):
        inside = image_folders(folder)
        if len(inside) != 1 or has_direct_images(folder):
            return len(inside) > 1 and not has_direct_images(folder)
        (folder,) = inside
    return False


def has_class_beside(folder: Path) -> bool:
    """Whether another folder beside this one has images too, as those of other classes have."""
    with suppress(DataError):  # a folder that cannot be read
        beside = islice(visible_folders(folder.absolute().parent), _MOST_BESIDE)
        return any(has_direct_images(other) for other in beside if other.name != folder.name)
    return False
