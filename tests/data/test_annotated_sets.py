"""Data sets for object detection, segmentation and several labels are named, not trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.test_folder import Listener, touch
from tltool.data.sources.open import read_source
from tltool.errors import DataError

COCO = json.dumps({"info": {}, "images": [], "annotations": [], "categories": []})
BOXES = "0 0.5 0.5 0.25 0.1\n3 0.1 1.0 0.25 1\n"
VOC = "<annotation><size/><object><bndbox/></object></annotation>"
YAML = "train: ../train/images\nnc: 2\nnames: ['a', 'b']\n"
LABELME = json.dumps({"version": "5", "shapes": [], "imagePath": "1.jpg"})

DETECTION = {
    "VOC": ({"VOC2012/JPEGImages/1.jpg": "", "VOC2012/Annotations/1.xml": VOC}, "Pascal VOC"),
    "VOC with masks": (
        {"J/JPEGImages/1.jpg": "", "J/Annotations/1.xml": VOC, "J/SegmentationClass/1.png": ""},
        "Pascal VOC",
    ),
    "VOC of two years": (
        {f"V{y}/{f}": t for y in (7, 12) for f, t in
         {"JPEGImages/1.jpg": "", "Annotations/1.xml": VOC}.items()},
        "Pascal VOC",
    ),
    "XML": ({"images/1.jpg": "", "annotations/1.xml": VOC}, "Pascal VOC: annotations/1.xml"),
    "XML beside the images": ({"train/1.jpg": "", "train/1.xml": VOC}, "Pascal VOC"),
    "COCO": (
        {"train2017/1.jpg": "", "val2017/2.jpg": "", "annotations/instances_val2017.json": COCO},
        "COCO: annotations/instances_val2017.json",
    ),
    "COCO in one folder": ({"images/1.jpg": "", "result.json": COCO}, "COCO: result.json"),
    "YOLO": (
        {"images/train/1.jpg": "", "images/val/2.jpg": "", "labels/train/1.txt": BOXES},
        "YOLO: labels/train/1.txt",
    ),
    "YOLO by its YAML": ({"train/images/1.jpg": "", "data.yaml": YAML}, "YOLO: data.yaml"),
    "Roboflow's YOLO": (
        {"train/images/1.jpg": "", "train/labels/1.txt": BOXES, "README.roboflow.txt": ""},
        "YOLO: train/labels/1.txt",
    ),
    "Darknet": ({"obj_train_data/1.jpg": "", "obj_train_data/1.txt": BOXES}, "YOLO"),
    "Roboflow's COCO": (
        {"train/1.jpg": "", "valid/1.jpg": "", "train/_annotations.coco.json": COCO},
        "Roboflow's COCO",
    ),
    "Roboflow's CSV": ({"train/1.jpg": "", "train/_annotations.csv": "a,b"}, "table of boxes"),
    "KITTI": (
        {f"training/{name}": "Car 0 1" for name in ("image_2/1.png", "label_2/1.txt")},
        "KITTI",
    ),
    "Supervisely": ({"ds/img/1.jpg": "", "ds/ann/1.jpg.json": "{}", "meta.json": "{}"}, "Supervis"),
    "LabelMe": ({"photos/1.jpg": "", "photos/1.json": LABELME}, "LabelMe: photos/1.json"),
    "VIA": ({"a/1.jpg": "", "via.json": '{"1": {"filename": "", "regions": []}}'}, "VGG Image"),
    "BDD100K": ({"a/1.jpg": "", "b.json": '[{"labels": [{"box2d": {}}]}]'}, "BDD100K: b.json"),
    "CVAT": ({"images/1.jpg": "", "annotations.xml": "<annotations></annotations>"}, "CVAT"),
    "CSV": ({"images/1.jpg": "", "train.csv": "file,xmin,ymin,xmax,ymax\n"}, "table of boxes"),
}  # fmt: skip
SEGMENTATION = {
    "masks": ({"images/1.jpg": "", "masks/1.png": ""}, "masks beside 'images': masks"),
    "masks of a split": ({"train/1.jpg": "", "train_masks/1_mask.gif": ""}, "masks beside 'train'"),
    "ADE20K": (
        {f"{kind}/training/1.png": "" for kind in ("images", "annotations")},
        "masks beside 'images': annotations",
    ),
    "Cityscapes": (
        {f"{kind}/train/{city}/1.png": "" for kind in ("leftImg8bit", "gtFine") for city in "ab"},
        "Cityscapes",
    ),
    "Pets": ({"images/Abyssinian_1.jpg": "", "annotations/trimaps/Abyssinian_1.png": ""}, "Pet"),
    "Roboflow's masks": (
        {"train/1.jpg": "", "train/1_mask.png": "", "train/_classes.csv": "Pixel Value, Class\n"},
        "Roboflow's masks: train/_classes.csv",
    ),
    "run-length": ({"train/1.jpg": "", "train.csv": "ImageId,EncodedPixels\n"}, "encoded masks"),
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "name", "task"),
    [
        *(pytest.param(*case, "an object detection", id=key) for key, case in DETECTION.items()),
        *(pytest.param(*case, "a segmentation", id=key) for key, case in SEGMENTATION.items()),
        pytest.param(
            {"train/1.jpg": "", "train/_classes.csv": "filename, Red, Blue\n1.jpg, 1, 1\n"},
            "Roboflow's table of classes: train/_classes.csv",
            "a multi-label",
            id="several labels",
        ),
    ],
)
@pytest.mark.parametrize("min_classes", [1, 2])
def test_the_task_and_the_format_are_named(
    tmp_path: Path, files: dict[str, str], name: str, task: str, min_classes: int
) -> None:
    with pytest.raises(DataError, match=f"is {task} data set") as raised:
        read_source(write(tmp_path, files), min_classes=min_classes)
    assert name in raised.value.message
    assert "table" in str(raised.value.hint)


@pytest.mark.parametrize("around", ["", "bottle/", "mvtec/cable/"])
def test_a_set_for_anomaly_detection_is_named(tmp_path: Path, around: str) -> None:
    names = ["train/good/1", "test/good/1", "test/broken/1", "ground_truth/broken/1_mask"]
    files = [f"{around}{name}.png" for name in names]
    with pytest.raises(DataError, match="is an anomaly detection data set") as raised:
        read_source(touch(tmp_path, *files))
    assert "one folder per class" in str(raised.value.hint)


def test_boxes_of_faces_beside_class_folders_give_a_warning(tmp_path: Path) -> None:
    boxes = "0--Parade/1.jpg\n1\n449 330 122 149 0 0 0 0 0 0\n"
    files = {f"WIDER_{part}/images/{n}--Event/1.jpg": "" for part in ("train", "val") for n in "01"}
    listener = Listener()
    read_source(write(tmp_path, {**files, "split/gt.txt": boxes}), observer=listener)
    assert any("(WIDER FACE: split/gt.txt) are not used" in m for m in listener.messages)


@pytest.mark.parametrize(
    "more",
    [
        {"README.roboflow.txt": "x", "README.dataset.txt": "x"},
        {"train/cat/1.xml": VOC, "train/dog/1.xml": VOC},
        {"classes.txt": "0 cat\n1 dog\n", "labels.csv": "name,label\n"},
    ],
    ids=["Roboflow's folders", "XML beside the images", "lists"],
)
def test_class_folders_with_other_files_are_read(tmp_path: Path, more: dict[str, str]) -> None:
    files = [f"{split}/{label}/1.jpg" for split in ("train", "valid") for label in ("cat", "dog")]
    listing = read_source(touch(write(tmp_path, more), *files))
    assert len(listing.items) == 4


@pytest.mark.parametrize("around", ["images/", "", "data/", "train/"])
@pytest.mark.parametrize("name", ["a.json", "annotations/a.json"])
def test_annotations_beside_class_folders_give_a_warning(
    tmp_path: Path, around: str, name: str
) -> None:
    files = {f"{around}batch {n}/1.jpg": "" for n in (1, 2)}
    listener = Listener()
    read_source(write(tmp_path, {**files, name: COCO}), observer=listener)
    assert any(f"the annotations (COCO: {name}) are not used" in m for m in listener.messages)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"annotations": 1}', "1 2 3", "\0\xff" * 9])
def test_other_files_are_no_annotations(tmp_path: Path, content: str) -> None:
    names = ("a.json", "a.xml", "a.txt", "a.yaml", "a.csv")
    write(tmp_path, {f"images/{name}": content for name in names} | {"images/1.jpg": ""})
    with pytest.raises(DataError, match="not in class folders"):
        read_source(tmp_path)
