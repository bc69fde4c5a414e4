"""Recognises data sets whose labels are boxes, outlines or lists, not one class per image."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tltool.data.sources.folders.folder_names import is_annotation_name, is_image_folder_name
from tltool.data.sources.folders.folder_tree import (
    Entry,
    holds_images,
    image_folders,
    visible_entries,
    visible_folders,
)
from tltool.errors import DataError

DETECTION, SEGMENTATION, MULTI_LABEL = "object detection", "segmentation", "multi-label"
ANOMALY = "anomaly detection"
_DEPTH = 4  # folders below the source
_MOST_FOLDERS = 200
_MOST_OPENED = 20  # files of a kind in one folder; the first ones may be without boxes
_BYTES = 1 << 16  # read at the start and at the end of a file
_WIDER_FACE = re.compile(r"\S+\.jpg\s*\n\d+\s*\n(\d+ ){9}")  # an image, a number, a box
_FRACTION = r"(0?\.\d+|[01](\.0*)?|\d(\.\d+)?e-\d+)"  # of the width or height
_BOX_LINE = re.compile(rf"\d+(\s+{_FRACTION}){{4,}}\s*", re.IGNORECASE)
_ENCODED_MASKS = "table of encoded masks"
_HINTS = {
    DETECTION: "cut out the objects into one folder per class (DATA/cat, DATA/dog), or give a table"
    " with the columns path and label",
    SEGMENTATION: "if each image has one class, put the images alone into one folder per class"
    " (DATA/cat, DATA/dog), or give a table with the columns path and label",
    MULTI_LABEL: "a classifier needs one class per image: give a table with the columns path and"
    " label, without the images of several classes",
    ANOMALY: "a classifier needs images of all classes to train on: put those of train and test"
    " into one folder per class (DATA/good, DATA/broken), one data set per object",
}


@dataclass(frozen=True)
class AnnotatedSet:
    """A data set for another task.

    Attributes:
        task: ``DETECTION``, ``SEGMENTATION``, ``MULTI_LABEL`` or ``ANOMALY``.
        format: its name.
        evidence: the file or folder by which it is recognised.
        certain: whether data sets with class folders never look so.
        hint: what to do, where there is more to say than of its task.
    """

    task: str
    format: str
    evidence: Path
    certain: bool = False
    hint: str | None = None

    def describe(self, root: Path) -> str:
        """Return the reason, without the name of the source."""
        name = self.evidence.relative_to(root).as_posix()
        return self.format if name == "." else f"{self.format}: {name}"

    def error(self, root: Path) -> DataError:
        """Return the error for a source that has no other labels."""
        article = "an" if self.task[0] in "ao" else "a"
        return DataError(
            f"{root} is {article} {self.task} data set ({self.describe(root)}), and has no folder"
            " of images per class",
            hint=self.hint or _HINTS[self.task],
        )


def find_annotated_set(
    root: Path, *, tasks: Sequence[str] | None = None, folders: Sequence[Path] | None = None
) -> AnnotatedSet | None:
    """Return the kind of a data set that is annotated in a known way, None otherwise.

    Known are COCO, Pascal VOC, YOLO, Roboflow's exports, Cityscapes, KITTI, Supervisely, LabelMe,
    CVAT, Oxford-IIIT Pet, and folders of masks beside folders of images. The folders near the top
    and the first files in each of them are searched, not the whole tree.

    Args:
        root: folder of the data set.
        tasks: search only for these; None means all.
        folders: search only in these; None means those near the top.

    Raises:
        DataError: a folder cannot be read.
    """
    found: tuple[list[AnnotatedSet], ...] = ([], [], [])
    searched = _near_top(root)
    if folders is not None:
        searched = ((folder, visible_entries(folder)) for folder in folders)
    for folder, entries in searched:
        for place, kind in zip(
            found,
            (_by_names(folder, entries), _by_content(entries), _mask_folders(entries)),
            strict=True,
        ):
            place += [each for each in kind if tasks is None or each.task in tasks]
    return next((each for kind in found for each in kind), None)


def find_anomaly_set(place: Path, folders: Sequence[Path]) -> AnnotatedSet | None:
    """Return the first folder of ``place``, or ``place``, with the layout of MVTec AD, if any.

    It has good images alone to train on, and good and bad ones with ``ground_truth`` to test.
    """
    for folder in (place, *folders[:_MOST_OPENED]):
        inside = {path.name.lower(): path for path in visible_folders(folder)}
        if inside.keys() >= {"train", "test", "ground_truth"}:
            trained = image_folders(inside["train"])
            if len(trained) == 1 < len(image_folders(inside["test"])):
                return AnnotatedSet(ANOMALY, "MVTec AD", inside["ground_truth"])
    return None


def _near_top(root: Path) -> Iterator[tuple[Path, list[Entry]]]:
    """Yield folders and their entries, the upper ones first."""
    waiting = [(root, 0)]
    for count, (folder, depth) in enumerate(waiting):
        if count == _MOST_FOLDERS:
            return
        entries = visible_entries(folder)
        yield folder, entries
        if depth < _DEPTH:
            waiting += [(path, depth + 1) for path, is_folder in entries if is_folder]


_FOLDER_PAIRS = (
    (("JPEGImages", "Annotations"), DETECTION, "Pascal VOC"),
    (("leftImg8bit", "gtFine"), SEGMENTATION, "Cityscapes"),
    (("leftImg8bit", "gtCoarse"), SEGMENTATION, "Cityscapes"),
    (("image_2", "label_2"), DETECTION, "KITTI"),
    (("img", "ann"), DETECTION, "Supervisely"),
)
_PETS_HINT = (
    "its classes are in the file names: give tfds:oxford_iiit_pet, or a table with the columns path"
    " and label"
)
_FILES = {
    "_classes.csv": (MULTI_LABEL, "Roboflow's table of classes"),
    "_annotations.coco.json": (DETECTION, "Roboflow's COCO"),
    "_darknet.labels": (DETECTION, "Roboflow's YOLO Darknet"),
}


def _by_names(folder: Path, entries: Sequence[Entry]) -> Iterator[AnnotatedSet]:
    folders = {path.name.lower(): path for path, is_folder in entries if is_folder}
    for names, task, name in _FOLDER_PAIRS:
        if folders.keys() >= {each.lower() for each in names}:
            yield AnnotatedSet(task, f"{name}, {' and '.join(names)}", folder, certain=True)
    if "trimaps" in folders:
        yield AnnotatedSet(
            SEGMENTATION, "Oxford-IIIT Pet", folders["trimaps"], certain=True, hint=_PETS_HINT
        )
    for path, is_folder in entries:
        if is_folder:
            continue
        task_and_format = _FILES.get(path.name.lower())
        if path.name.lower() == "_classes.csv" and "pixel value" in _ends_of(path).lower():
            task_and_format = (SEGMENTATION, "Roboflow's masks")
        if task_and_format is None and path.name.startswith("_annotations."):
            task_and_format = (DETECTION, "Roboflow's table of boxes")
        if task_and_format:
            yield AnnotatedSet(*task_and_format, path)


def _by_content(entries: Sequence[Entry]) -> Iterator[AnnotatedSet]:
    opened: dict[str, int] = {}
    for path, is_folder in entries:
        extension = path.suffix.lower()
        describe = _CONTENTS.get(extension)
        if is_folder or describe is None or opened.get(extension, 0) >= _MOST_OPENED:
            continue
        opened[extension] = opened.get(extension, 0) + 1
        name = describe(_ends_of(path))
        if name:
            task = SEGMENTATION if name == _ENCODED_MASKS else DETECTION
            yield AnnotatedSet(task, name, path)


def _ends_of(path: Path) -> str:
    """Return the start and the end of a file; nothing if it cannot be read."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(_BYTES)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(len(start), size - _BYTES))
                return (start + file.read(_BYTES)).decode("utf-8", errors="replace")
    return ""


def _json_format(text: str) -> str | None:
    if '"annotations"' in text and ('"images"' in text or '"categories"' in text):
        return "COCO"
    if '"shapes"' in text and '"imagePath"' in text:
        return "LabelMe"
    if '"regions"' in text and '"filename"' in text:
        return "VGG Image Annotator"
    return "BDD100K" if '"labels"' in text and '"box2d"' in text else None


def _xml_format(text: str) -> str | None:
    if "<annotations" in text:
        return "CVAT"
    return "Pascal VOC" if "<annotation" in text and "<object" in text else None


def _text_format(text: str) -> str | None:
    if _WIDER_FACE.match(text):
        return "WIDER FACE"
    lines = [line for line in text[:_BYTES].splitlines() if line.strip()]
    return "YOLO" if lines and all(map(_BOX_LINE.fullmatch, lines[:20])) else None


def _table_format(text: str) -> str | None:
    columns = set(re.split(r"[^a-z_]+", text.partition("\n")[0].lower()))
    if {"xmin", "ymin"} <= columns or columns & {"bbox", "bbox_x", "x_min"}:
        return "table of boxes"
    return _ENCODED_MASKS if columns & {"encodedpixels", "rle", "rle_mask"} else None


def _yaml_format(text: str) -> str | None:
    keys = set(re.findall(r"^(\w+)\s*:", text, re.MULTILINE))
    return "YOLO" if "names" in keys and keys & {"nc", "train", "val"} else None


_CONTENTS: dict[str, Callable[[str], str | None]] = {
    ".json": _json_format,
    ".xml": _xml_format,
    ".txt": _text_format,
    ".csv": _table_format,
    ".tsv": _table_format,
    ".yaml": _yaml_format,
    ".yml": _yaml_format,
}


def _mask_folders(entries: Sequence[Entry]) -> Iterator[AnnotatedSet]:
    """Yield a folder of masks beside a folder of images."""
    folders = [path for path, is_folder in entries if is_folder]
    masks = [path for path in folders if is_annotation_name(path.name) and holds_images(path)]
    others = [path for path in folders if path not in masks and _is_of_images(path, masks)]
    if masks and others and any(map(holds_images, others)):
        yield AnnotatedSet(SEGMENTATION, f"masks beside '{others[0].name}'", masks[0])


def _is_of_images(folder: Path, masks: Sequence[Path]) -> bool:
    """Return whether a folder is named after images, or one of masks is named after it."""
    name = folder.name.lower()
    return is_image_folder_name(folder.name) or any(name in mask.name.lower() for mask in masks)
