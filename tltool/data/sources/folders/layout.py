"""Finds the class folders of a source: in wrapping folders, in split folders, beside masks."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tltool.data.catalog import SplitName
from tltool.data.sources.folders.annotated_sets import (
    DETECTION,
    MULTI_LABEL,
    find_annotated_set,
    find_anomaly_set,
)
from tltool.data.sources.folders.doubtful_classes import doubtful_class_notes
from tltool.data.sources.folders.folder_names import (
    is_annotation_name,
    is_annotations_only,
    is_documentation_name,
    is_image_folder_name,
    is_placeholder_name,
    part_named,
)
from tltool.data.sources.folders.folder_shapes import (
    MOST_WRAPPED,
    has_class_beside,
    has_only_image_folders,
    is_no_class,
    wraps_folders,
)
from tltool.data.sources.folders.folder_tree import (
    FolderWalk,
    holds_images,
    image_folders,
    is_image,
    visible_folders,
)
from tltool.data.sources.folders.other_files import classes_in_names, describe_counts
from tltool.data.sources.folders.output_folders import is_output_folder
from tltool.data.sources.folders.split_folders import split_folders
from tltool.data.sources.listing import LAYOUT_HINT, LayoutNote, listed
from tltool.data.sources.tables.table_rows import TABLES
from tltool.errors import DataError, counted


class ClassFolders(NamedTuple):
    """Class folders, and the split of their images; None where the source defines no splits."""

    split: SplitName | None
    folders: list[Path]


def find_class_folders(
    root: Path,
    walk: FolderWalk,
    *,
    ood_images: str | None = None,
    known_classes: Collection[str] = (),
) -> list[ClassFolders]:
    """Return the class folders of a source, by split; none if it contains no images.

    They are directly in ``root``, or in the only folder of it that contains images (and so on), or
    in split folders. A folder of masks beside a folder of images is left out.

    Args:
        root: folder of the source.
        walk: records other files, notes and the folders above the classes.
        ood_images: name of a folder of out-of-distribution images.
        known_classes: names of folders that are classes, whatever they contain.

    Raises:
        DataError: there is no such folder, it cannot be read, or it has images that are not in
            class folders: it may be a detection or segmentation data set.
    """
    if not os.path.isdir(root):  # noqa: PTH112  (Path.is_dir raises without permission)
        raise DataError(f"there is no folder {root}", hint="check the path for a typo")
    search = _Search(root, walk, ood_images, set(known_classes))
    place, folders = search.descend(root)
    anomalies = find_anomaly_set(place, folders)
    if anomalies is not None:
        raise anomalies.error(root)
    splits = split_folders(place, folders, walk.notes, known_classes=known_classes)
    search.note_annotations(place)
    if splits is None:
        search.check_classes(place, folders)
        return [ClassFolders(None, folders)]
    parts = [(name, search.class_folders(name, folder)) for name, folder in splits]
    return [ClassFolders(name, classes) for name, classes in parts if classes]


@dataclass
class _Search:
    """The state of a search, see ``find_class_folders``."""

    root: Path
    walk: FolderWalk
    ood_images: str | None
    known_classes: set[str]
    _holding: dict[Path, bool] = field(default_factory=dict)

    def descend(self, place: Path, *, in_split: bool = False) -> tuple[Path, list[Path]]:
        """Return the folder that contains the class or split folders, and its folders."""
        outer, folders = place, self._folders(place)
        for _ in range(MOST_WRAPPED):
            inner = self._inner(folders, in_split=in_split)
            if inner is None:
                break
            place, folders = inner, self._folders(inner)
        if place != outer and not in_split:
            names = listed([folder.name for folder in self._with_images(folders)], 4)
            detail = f"the images are in this folder ({names})"
            self.walk.notes.append(LayoutNote(place, "wrapping folder", detail))
        return place, folders

    def class_folders(self, split: SplitName, folder: Path) -> list[Path]:
        """Return the class folders of a split; none if its images have no labels."""
        classes: list[Path] = []
        if image_folders(folder):
            _, classes = self.descend(folder, in_split=True)
            holding = self._with_images(classes)
            if len(holding) == 1 and self._is_unlabelled(holding[0], split, folder):
                classes = []
        if split == "train":
            if not classes:
                raise self._unsorted(folder)
            self.known_classes.update(each.name for each in classes)
            place = classes[0].parent
            self.walk.notes += doubtful_class_notes(place, self._with_images(classes))
        elif not classes:
            self._note_unlabelled(folder)
        return classes

    def _is_unlabelled(self, only: Path, split: SplitName, folder: Path) -> bool:
        """Return whether the only folder in a split folder is no class, as ``test/unknown``."""
        is_placeholder = split != "train" and is_placeholder_name(only.name)
        return (
            is_no_class(only)
            or only.name == folder.name
            or (is_placeholder and only.name not in self.known_classes)
        )

    def check_classes(self, place: Path, folders: Sequence[Path]) -> None:
        """Check that folders are classes, as far as one can see.

        Raises:
            DataError: they are not.
        """
        holding = self._with_images(folders)
        if not holding and self.walk.stray:
            raise self._unsorted(place)
        single = len(holding) == 1 and holding[0].name not in self.known_classes
        if single and is_no_class(holding[0]):
            raise self._unsorted(holding[0])
        masks = [folder for folder in holding if is_annotations_only(folder.name)]
        masks += [f for f in holding if part_named(f.name) and is_annotation_name(f.name)]
        images = [folder for folder in holding if folder not in masks]
        if masks and images and all(map(is_no_class, images)):
            raise self._unsorted(images[0])
        if single or (len(holding) > 1 and all(map(has_only_image_folders, holding))):
            annotated = find_annotated_set(self.root, tasks=(DETECTION, MULTI_LABEL))
            if annotated is not None:
                raise annotated.error(self.root)
        self.walk.notes += doubtful_class_notes(place, holding)

    def note_annotations(self, place: Path) -> None:
        """Note that the folders are used as classes, although there are annotations beside them."""
        above = {self.root, place}
        without_images = [
            inside
            for folder in above
            for inside in visible_folders(folder)
            if not self._with_images([inside])
        ]
        annotated = find_annotated_set(
            self.root, tasks=(DETECTION, MULTI_LABEL), folders=[*above, *without_images]
        )
        if annotated is not None:
            detail = (
                f"the annotations ({annotated.describe(self.root)}) are not used; the classes are"
                " the folders"
            )
            mend = "give a table with the columns path and label if the folders are no classes"
            note = LayoutNote(self.root, "unused annotations", detail, mend, "warning")
            self.walk.notes.append(note)

    def _folders(self, place: Path) -> list[Path]:
        """Return the visible folders directly in ``place``, and record the files next to them."""
        self.walk.add_boundary(place)
        folders: list[Path] = []
        for path, is_folder in self.walk.visible(place):
            if is_folder and path.name == self.ood_images:
                self.walk.ood_images += self.walk.images_below(path)
            elif is_folder and is_output_folder(path):
                detail = "results of tltool, no images"
                self.walk.notes.append(LayoutNote(path, "folder left out", detail))
            elif is_folder:
                folders.append(path)
            elif is_image(path):
                self.walk.stray.append(path)
            else:
                self.walk.others.add(path)
        return folders

    def _with_images(self, folders: Sequence[Path]) -> list[Path]:
        for folder in folders:
            if folder not in self._holding:
                self._holding[folder] = holds_images(folder)
        return [folder for folder in folders if self._holding[folder]]

    def _inner(self, folders: Sequence[Path], *, in_split: bool) -> Path | None:
        """Return the one folder that wraps all images, None if there is none."""
        holding = self._with_images(folders)
        documents = [folder for folder in holding if is_documentation_name(folder.name)]
        if len(holding) == 1 + len(documents):
            rest = [folder for folder in holding if folder not in documents]
            if rest and documents and wraps_folders(rest[0]):
                self._note_skipped(documents, "named like documentation beside the data")
                holding = rest
        of_images = [folder for folder in holding if is_image_folder_name(folder.name)]
        masks = [f for f in holding if f not in of_images and is_annotation_name(f.name)]
        if masks and len(of_images) == 1 and len(holding) == 1 + len(masks):
            annotated = find_annotated_set(self.root)
            if not image_folders(of_images[0]) or (annotated and annotated.certain):
                raise self._unsorted(of_images[0])
            self._note_skipped(masks, "named like annotations beside the images")
            return of_images[0]
        if len(holding) != 1 or holding[0].name in self.known_classes:
            return None
        part = part_named(holding[0].name)
        if part is not None and not part.rest and not in_split:
            return None  # a split folder
        return holding[0] if wraps_folders(holding[0]) else None

    def _unsorted(self, folder: Path) -> DataError:
        """Return the error for images that are not in class folders."""
        annotated = find_annotated_set(self.root)
        if annotated is not None:
            return annotated.error(self.root)
        count = sum(1 for _ in FolderWalk().images_below(folder))
        if not count:
            return DataError(f"the folder {folder} contains no images", hint=LAYOUT_HINT)
        unsorted = counted(count, f"image in {folder} is", f"images in {folder} are")
        return DataError(
            f"the {unsorted} not in class folders",
            hint=self._hint_for_unsorted(folder),
        )

    def _hint_for_unsorted(self, folder: Path) -> str:
        hint = f"{LAYOUT_HINT}; or list them in a table with the columns path and label"
        tables = [path.name for path in self.walk.others.some(TABLES)]
        if tables:
            return f"{hint}, perhaps {listed(tables, 3)}"
        names = classes_in_names(path.stem for path in FolderWalk().images_below(folder))
        if names:
            return f"{hint}, perhaps from the file names ({listed(names, 3)})"
        if folder == self.root and has_class_beside(folder):
            return f"if '{folder.name}' is one class of several, give the folder {folder.parent}"
        return hint

    def _note_unlabelled(self, folder: Path) -> None:
        walk = FolderWalk()
        count = sum(1 for _ in walk.images_below(folder))
        unlabelled = "without class folders, so without labels,"
        detail = counted(count, f"image {unlabelled} is", f"images {unlabelled} are") + " not used"
        mend = "sort them into class folders, or classify them with tltool predict"
        if not count:
            detail = f"no images ({describe_counts(walk.others.counts) or 'empty'}); not used"
            mend = "add its images, or remove it"
        note = LayoutNote(folder, "split without labels", detail, mend, "warning")
        self.walk.notes.append(note)

    def _note_skipped(self, folders: Sequence[Path], why: str) -> None:
        for folder in folders:
            detail = f"{why}, so its images are not used"
            mend = "rename it if it contains classes"
            note = LayoutNote(folder, "folder left out", detail, mend, "warning")
            self.walk.notes.append(note)
