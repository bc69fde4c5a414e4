"""Lists a folder of images: one folder per class, or train, validation and test folders."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tltool.data.catalog import Item, SplitName
from tltool.data.item_columns import ItemColumns
from tltool.data.sources.folders.below_classes import (
    same_subfolders_note,
    subfolders_below,
    with_splits_below,
)
from tltool.data.sources.folders.folder_tree import FolderWalk
from tltool.data.sources.folders.layout import find_class_folders
from tltool.data.sources.folders.masks import separate_masks
from tltool.data.sources.folders.other_files import describe_counts
from tltool.data.sources.listing import LayoutNote, Listing, class_name, listed


def read_folder(
    root: Path, *, ood_images: str | None = None, known_classes: Collection[str] = ()
) -> Listing:
    """List the images below ``root`` with their labels.

    Labels are the names of the class folders, in Unicode normal form C. Symbolic links are
    followed, but no folder is read twice for one class. Segmentation masks are left out.

    Args:
        root: contains the class folders, or train, val and test folders with class folders; both
            may be wrapped in further folders.
        ood_images: name of a folder of out-of-distribution images next to the class folders.
        known_classes: names of folders that are classes, whatever they contain.

    Raises:
        DataError: the folder does not exist, cannot be read, or contains images that are not in
            class folders.

    Examples:
        >>> read_folder(Path("photos")).items[0].label  # doctest: +SKIP
        'ants'
    """
    walk = FolderWalk()
    classes = find_class_folders(root, walk, ood_images=ood_images, known_classes=known_classes)
    for _, folders in classes:
        for folder in folders:
            walk.add_boundary(folder)
    for split, folders in classes:
        _read_classes(folders, split, walk)
    if all(split is None for split, _ in classes):
        _read_subfolders(root, walk)
    return _listing(root, walk.items, walk)


def list_images(folder: Path) -> Listing:
    """List every image below ``folder`` that is not hidden, in a fixed order, without labels.

    Raises:
        DataError: a folder cannot be read.
    """
    walk = FolderWalk()
    items = ItemColumns(Item(path=image, label="") for image in walk.images_below(folder))
    return _listing(folder, items, walk)


def _listing(root: Path, items: ItemColumns, walk: FolderWalk) -> Listing:
    return Listing(
        source=str(root),
        root=root,
        items=items,
        hidden=walk.hidden,
        ignored=dict(sorted(walk.others.counts.items())),
        stray=tuple(walk.stray),
        empty_classes=tuple(walk.empty_classes),
        ood_images=tuple(walk.ood_images),
        repeated_folders=tuple(walk.repeated_folders),
        cross_class_links=tuple(walk.cross_class_links.values()),
        other_files=tuple(path for paths in walk.others.examples.values() for path in paths),
        misnamed=tuple(walk.others.misnamed),
        notes=tuple(walk.notes),
    )


def _read_classes(folders: Sequence[Path], split: SplitName | None, walk: FolderWalk) -> None:
    masks: list[Path] = []
    for folder in folders:
        label = class_name(folder.name, described_as="the class folder")
        others = walk.others.counts.copy()
        images, masks_of_class = separate_masks(
            list(walk.images_below(folder, of_class=True)), folder
        )
        masks += masks_of_class
        walk.subfolders += subfolders_below(folder, images)
        for path in images:
            walk.items.append(Item(path=path, label=label, given_split=split))
        if not images:
            walk.empty_classes.append(folder)
            counts = describe_counts(walk.others.counts - others) or "empty"
            detail = f"no image ({counts}); not used as a class"
            mend = "add images, or remove it"
            walk.notes.append(LayoutNote(folder, "empty class folder", detail, mend, "warning"))
    if masks:
        detail = f"{len(masks):,} segmentation masks such as this one are not used as images"
        mend = "if they are images, move them out of the folder, or rename them"
        walk.notes.append(LayoutNote(masks[0], "masks", detail, mend, "warning"))


def _read_subfolders(root: Path, walk: FolderWalk) -> None:
    """Use splits below the classes, and report classes that contain the same folders."""
    walk.items, ignored = with_splits_below(walk.items, walk.subfolders)
    if ignored is not None:
        mend = "put all images of all classes into such folders, or none"
        walk.notes.append(LayoutNote(root, "splits below the classes", ignored, mend, "serious"))
    elif walk.items.given_splits():
        names = listed(sorted({name for name in walk.subfolders if name is not None}))
        detail = f"the folders {names} in the class folders are used as splits"
        walk.notes.append(LayoutNote(root, "splits below the classes", detail))
    else:
        note = same_subfolders_note(root, walk.items, walk.subfolders)
        walk.notes += [] if note is None else [note]
