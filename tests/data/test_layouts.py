"""Layouts of folders that people have: splits of any spelling, wrapping folders, masks."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.test_folder import Listener, touch
from tltool.data.checks.layout_findings import LAYOUT_KINDS, layout_findings
from tltool.data.sources.folders.folder import read_folder
from tltool.data.sources.folders.folder_names import is_hidden_name, part_named
from tltool.data.sources.folders.masks import separate_masks
from tltool.data.sources.grouping import assign_groups
from tltool.data.sources.open import read_source
from tltool.errors import DataError

CLASSES = ("ants", "bees")
LEFT_OUT = ("folder left out", "folder without labels", "split without labels")
TRAIN, VALIDATION, TEST = "train", "validation", "test"


def in_classes(*folders: str, classes: tuple[str, ...] = CLASSES) -> list[str]:
    """Return two images for each class in each folder."""
    return [f"{folder}{label}/{n}.jpg" for folder in folders for label in classes for n in (1, 2)]


def listed(root: Path, *files: str, **how: object) -> tuple[Counter[tuple[str, str]], Listener]:
    """Return the number of images by split ("" for none) and class, and the messages."""
    listener = Listener()
    listing = read_source(touch(root, *files), observer=listener, **how)
    return Counter((item.given_split or "", item.label) for item in listing.items), listener


def expected(*splits: str, classes: tuple[str, ...] = CLASSES) -> Counter[tuple[str, str]]:
    return Counter({(split, label): 2 for split in splits for label in classes})


SPLITS = {
    ("training_set", "test_set"): (TRAIN, TEST),
    ("training_set/training_set", "test_set/test_set"): (TRAIN, TEST),
    ("seg_train/seg_train", "seg_test/seg_test"): (TRAIN, TEST),
    ("train_images", "test_images"): (TRAIN, TEST),
    ("train2017", "val2017"): (TRAIN, VALIDATION),
    ("Training", "Testing"): (TRAIN, TEST),
    ("train", "dev", "holdout"): (TRAIN, VALIDATION, TEST),
    ("train", "dev", "hold-out"): (TRAIN, VALIDATION, TEST),
    ("TRAIN-set", "VAL-set", "TEST_SET"): (TRAIN, VALIDATION, TEST),
    ("TRAINset", "TESTset"): (TRAIN, TEST),
    ("TrainImages", "ValidImages"): (TRAIN, VALIDATION),
    ("01_train", "02_val", "03_test"): (TRAIN, VALIDATION, TEST),
    ("training", "validation", "evaluation"): (TRAIN, VALIDATION, TEST),
    ("train", "eval", "test"): (TRAIN, VALIDATION, TEST),
    ("trainval", "test"): (TRAIN, TEST),
    ("Final_Training/Images", "Final_Test/Images"): (TRAIN, TEST),
    ("wider_train", "wider_val"): (TRAIN, VALIDATION),
    ("horses", "horses-test-set"): (TRAIN, TEST),
    ("archive/chest/train", "archive/chest/val"): (TRAIN, VALIDATION),
    ("train/images", "valid/images"): (TRAIN, VALIDATION),
}


@pytest.mark.parametrize(("folders", "splits"), SPLITS.items(), ids=lambda value: "+".join(value))
def test_split_folders_of_any_spelling(
    tmp_path: Path, folders: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    found, _ = listed(tmp_path, *in_classes(*(f"{folder}/" for folder in folders)))
    assert found == expected(*splits)


@pytest.mark.parametrize("names", [("test1", "test2", "test3"), ("train 1", "train 2")])
def test_numbered_folders_of_images_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = [f"{name}/{n}.jpg" for name in names for n in (1, 2)]
    found, listener = listed(tmp_path, *files)
    assert found == expected("", classes=names)
    assert all(any(f"'{name}': used as a class" in m for m in listener.messages) for name in names)
    with pytest.raises(DataError, match="contains more than one"):
        listed(tmp_path, *(f"{name}/a/1.jpg" for name in names))


def test_unusual_names_of_splits_are_reported(tmp_path: Path) -> None:
    _, listener = listed(tmp_path, *in_classes("training_set/", "test/"))
    assert listener.messages == ["'training_set': used as the train split"]


@pytest.mark.parametrize(
    "names",
    [
        ("train", "car", "bus"),
        ("test tubes", "beakers", "flasks"),
        ("train station", "test tubes", "val d'isere"),
        ("valid", "invalid"),
        ("photo", "sketch", "painting"),
        ("with_mask", "without_mask"),
        ("masks", "no_masks"),
        ("recycled", "trash"),
        ("left", "right"),
        ("grade 1", "grade 2"),
        ("A", "B"),
    ],
    ids="+".join,
)
@pytest.mark.parametrize("inside", ["", "{}1/"])
def test_classes_with_the_words_of_splits_and_masks_stay_classes(
    tmp_path: Path, names: tuple[str, ...], inside: str
) -> None:
    files = [f"{name}/{inside.format(name)}{n}.jpg" for name in names for n in (1, 2)]
    assert listed(tmp_path, *files)[0] == expected("", classes=names)


@pytest.mark.parametrize(
    ("files", "message", "mend"),
    [
        (["cat/1.jpg", "dog/1.jpg", "test/2.jpg"], "'test': used as a class, although", "--test"),
        (
            ["cat/1.jpg", "dog/1.jpg", "training_set/2.jpg"],
            "'training_set': used as a class",
            "--test",
        ),
        (
            ["train/cat/1.jpg", "train/dog/1.jpg", "train/images/1.jpg"],
            "'train/images': used",
            "move",
        ),
        (["labels/1.jpg", "masks/1.jpg"], "'masks': used as a class", "move it"),
        (["cat/1.jpg", "dog/1.jpg", "unlabeled/2.jpg"], "'unlabeled': used as a class", "move it"),
        (["cat/1.jpg", "dog/1.jpg", "docs/2.jpg"], "'docs': used as a class", "move it"),
        (["cat/1.jpg", "dog/1.jpg", "images/2.jpg"], "'images': used as a class", "move it"),
        (in_classes("one/", "two/"), "'one', 'two' contain the same folders", "rename"),
        (in_classes("shop/images/", "web/images/"), "'shop', 'web' contain the same", "rename"),
        (
            ["cats_train/1.jpg", "cats_test/1.jpg", "dogs_train/1.jpg", "dogs_test/1.jpg"],
            "names of class folders contain splits",
            "make folders train and test",
        ),
        (
            ["ants/1.jpg", "bees/1.jpg", *in_classes("insects/")],
            "'insects' contains folders named like other classes",
            "copy",
        ),
        (
            ["cats/train/1.jpg", "cats/test/1.jpg", "dogs/2.jpg"],
            "the names are ignored",
            "put all images",
        ),
        (["cat/1.jpg", "dog/1.jpg", "bird/1.CR2"], "'bird': no image (1 .cr2)", "add images"),
        (
            ["HAM_images_part_1/1.jpg", "HAM_images_part_2/1.jpg"],
            "differ only in a number, as parts of one set do",
            "give a table",
        ),
        (["video_01/1.jpg", "video_02/2.jpg"], "differ only in a number", "give a table"),
        (
            ["rgb/1.png", "rgb/2.png", "depth/1.png", "depth/2.png"],
            "'depth', 'rgb' have the same names, as paired images",
            "give a table",
        ),
        (
            [f"train/{side}/{n}.jpg" for side in "AB" for n in (1, 2, 3)],
            "'A', 'B' have the same names, as paired images",
            "give a table",
        ),
        ([f"{side}/{n}.jpg" for side in "xy" for n in (1, 2)], "'x', 'y' have the same", "give"),
        (
            [f"{kind}/{13 * n}.png" for kind in ("nir", "rgb", "swir") for n in range(10)],
            "'nir', 'rgb' have the same names",
            "give a table",
        ),
        (
            [f"train{side}/{n}.jpg" for side in "AB" for n in (1, 2)]
            + [f"test{side}/{n}.jpg" for side in "AB" for n in (3, 4)],
            "names of class folders contain splits",
            "make folders train and test",
        ),
        (
            ["ISIC_Training_Data/1.jpg", "ISIC_Training_Part1_GroundTruth/1.png"],
            "named like a folder of annotations",
            "move it",
        ),
        (["roses/1.jpg", "tulips/1.jpg", "thumbnails/1.jpg"], "'thumbnails': used", "move it"),
        (
            ["a/abbey/1.jpg", "a/alley/1.jpg", "b/bakery/1.jpg", "b/bank/1.jpg"],
            "the classes consist of 4 folders such as 'a/abbey'",
            "one folder up",
        ),
        (["cat/1.jpg", "dog/1.jpg", "3.jpg"], "1 image outside the class folders", "3.jpg"),
    ],
)
def test_what_is_probably_wrong_is_reported(
    tmp_path: Path, files: list[str], message: str, mend: str
) -> None:
    _, listener = listed(tmp_path, *files)
    (reported,) = [text for text in listener.messages if message in text]
    assert mend in reported


@pytest.mark.parametrize("name", ["{}.jpg", "IMG_{:04}.jpg", "{} (1).jpg", "x/a_{}.jpg"])
def test_classes_whose_files_are_numbered_are_no_pairs(tmp_path: Path, name: str) -> None:
    files = [f"{label}/{name.format(n)}" for label in CLASSES for n in range(1, 600)]
    _, listener = listed(tmp_path, *files)
    assert listener.messages == []


def test_images_whose_sizes_agree_in_pairs_are_reported(tmp_path: Path) -> None:
    pairs = [(label, n) for label in CLASSES for n in range(12)]
    touch(tmp_path, *(f"{label}/{n}.png" for label, n in pairs))
    for label, n in pairs:
        Image.new("L", (8 + n % 9, 9)).save(tmp_path / label / f"{n}.png")
    assert any("as paired images of one scene" in m for m in listed(tmp_path)[1].messages)
    Image.new("L", (9, 9)).save(tmp_path / "ants" / "0.png")
    assert listed(tmp_path)[1].messages == []


def test_splits_below_the_classes_are_used(tmp_path: Path) -> None:
    files = [f"{label}/{part}/{n}.jpg" for label in CLASSES for part in ("Training", "test_set")
             for n in (1, 2)]  # fmt: skip
    found, listener = listed(tmp_path, *files)
    assert found == expected(TRAIN, TEST)
    assert any("'Training', 'test_set' in the class folders" in m for m in listener.messages)


@pytest.mark.parametrize(
    "where",
    [
        "test/{}.jpg", "test/images/{}.jpg", "test/test/{}.jpg", "test/unlabeled/{}.jpg",
        "test/unknown/{}.jpg", "test/all/{}.jpg", "test/all_images/{}.jpg", "test/No Label/{}.jpg",
    ],
)  # fmt: skip
def test_a_split_without_labels_is_left_out_and_reported(tmp_path: Path, where: str) -> None:
    files = [where.format(n) for n in range(4)]
    found, listener = listed(tmp_path, *in_classes("train/"), *files)
    assert found == expected(TRAIN)
    assert any(
        "'test': 4 images without class folders" in m and "tltool predict" in m
        for m in listener.messages
    )


def test_a_test_split_of_one_unknown_class_may_have_no_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="test images have classes") as raised:
        listed(tmp_path, *in_classes("train/"), "test/0/1.jpg", "test/0/2.jpg")
    assert raised.value.hint is not None
    assert "the images of '0' have no labels, move them out" in raised.value.hint
    assert "tltool predict" in raised.value.hint


def test_a_class_named_unknown_is_tested(tmp_path: Path) -> None:
    files = [*in_classes("train/"), "train/unknown/1.jpg", "test/unknown/2.jpg"]
    found, _ = listed(tmp_path, *files)
    assert found["test", "unknown"] == 1


def test_a_wrapped_split_without_labels(tmp_path: Path) -> None:
    """As the test images of the ASL alphabet are."""
    files = in_classes("asl_train/asl_train/")
    assert listed(tmp_path, *files, "asl_test/asl_test/A_test.jpg")[0] == expected(TRAIN)


@pytest.mark.parametrize(
    "other",
    [
        "seg_pred/seg_pred",
        "images to predict",
        "unlabelled",
        "single_prediction",
        "train_masks/ants",
        "test-multiple_fruits",
        "papers",
        "Meta",
        "sample_images",
    ],
)
def test_folders_beside_the_splits_that_are_neither_splits_nor_classes_are_left_out(
    tmp_path: Path, other: str
) -> None:
    files = in_classes("seg_train/seg_train/", "seg_test/seg_test/")
    if not other.startswith("seg"):
        files = in_classes("train/", "test/")
    found, listener = listed(tmp_path, *files, f"{other}/1.jpg")
    assert found == expected(TRAIN, TEST)
    name = other.partition("/")[0]
    assert any(f"'{name}'" in m and "not used" in m for m in listener.messages)


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (
            in_classes("", "test/"),
            "move 'test' out of the folder, and give test images with --test",
        ),
        (in_classes("train/", "val/", "chest/train/"), "chest alone if it is the data set"),
        ([*in_classes("Plants/Plants/train/"), "test/test/1.jpg"], "Plants alone"),
        (in_classes("train/", "val/", "more/"), "keep either the split folders ('train', 'val')"),
        (["train/1.jpg", "test/1.jpg", "more/1.jpg"], "keep either the split folders"),
    ],
)
def test_split_folders_beside_other_folders_are_an_error(
    tmp_path: Path, files: list[str], hint: str
) -> None:
    with pytest.raises(DataError, match="contains split folders and other folders") as raised:
        listed(tmp_path, *files)
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize(
    ("around", "others"),
    [
        ("PetImages/", ["readme[1].txt", "MSR-LA - 3467.docx"]),
        ("food-101/images/", ["food-101/meta/train.txt", "food-101/README.txt"]),
        ("CUB/images/", ["CUB/parts/parts.txt", "attributes.txt", "CUB/bounding_boxes.txt"]),
        ("Images/", ["Annotation/ants/1", "Annotation/bees/1"]),
        ("repo-main/data/", ["repo-main/README.md", "repo-main/docs/screenshot.png"]),
        ("a/b/c/d/", []),
    ],
)
def test_wrapping_folders_are_no_classes(tmp_path: Path, around: str, others: list[str]) -> None:
    found, listener = listed(tmp_path, *in_classes(around), *others)
    assert found == expected("")
    assert any(f"'{around[:-1]}': the images are in this folder" in m for m in listener.messages)


def test_a_class_with_folders_is_no_wrapping_folder_for_a_model_that_knows_it(
    tmp_path: Path,
) -> None:
    test = tmp_path / "test"
    files = ["cat/2014/1.jpg", "cat/2015/1.jpg"]
    found, _ = listed(test, *files, min_classes=1, known_classes=("cat", "dog"))
    assert found == {("", "cat"): 2}
    listing = read_source(touch(tmp_path / "all", "cat/9.jpg", "dog/9.jpg"), test=test)
    assert {item.label for item in listing.items} == {"cat", "dog"}


def test_one_class_with_images_and_folders_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 1 class") as raised:
        listed(tmp_path, "cat/1.jpg", "cat/tabby/1.jpg", "cat/siamese/1.jpg")
    assert "'siamese', 'tabby', give the folder 'cat'" in str(raised.value.hint)


SYSTEM = [
    "@eaDir",
    "_gsdata_",
    "#recycle",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "__MACOSX",
]
SYSTEM += ["lost+found", ".ipynb_checkpoints", "@Recently-Snapshot", "#snapshot", "LOST.DIR"]
SYSTEM += ["Catalog Previews.lrdata", "Photos.photoslibrary", "node_modules"]


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_skipped_and_counted(tmp_path: Path, name: str) -> None:
    files = [f"{place}{name}/1.jpg" for place in ("", "ants/", "bees/more/")]
    listing = read_source(touch(tmp_path, *in_classes(""), *files))
    assert len(listing.items) == 4
    assert listing.hidden == 3


@pytest.mark.parametrize(
    ("name", "file"),
    [("runs", "a/manifest.json"), ("runs", "k/group.json"), ("data_check", "a/data_report.html"),
     ("saved_models", "vgg16/1/saved_model.pb"), ("mlruns", "0/meta.yaml"),
     ("lightning_logs", "version_0/hparams.yaml")],
)  # fmt: skip
def test_results_of_tltool_among_the_images_are_no_class(
    tmp_path: Path, name: str, file: str
) -> None:
    files = in_classes("")
    found, listener = listed(tmp_path, *files, f"{name}/{file}", f"{name}/a/plot.png")
    assert found == expected("")
    assert any(f"'{name}': results of tltool" in message for message in listener.messages)
    (tmp_path / name / file).unlink()
    assert len(read_source(tmp_path).items) == 5  # a class with one of these names


MASKS = {
    "folders": ["{c}/images/1.jpg", "{c}/images/2.jpg", "{c}/masks/m1.png", "{c}/masks/m2.png"],
    "same names": ["{c}/1.jpg", "{c}/2.jpg", "{c}/Lung Masks/1.png", "{c}/Lung Masks/2_mask.png"],
    "suffix": ["{c}/1.png", "{c}/2.png", "{c}/1_mask.png", "{c}/2_mask_1.png"],
    "prefix": ["{c}/1.png", "{c}/2.png", "{c}/mask_1.png", "{c}/GT-2.png"],
    "singular": ["{c}/img/1.jpg", "{c}/img/2.jpg", "{c}/mask/x.png"],
    "spaces": ["{c}/{c} (1).png", "{c}/{c} (2).png", "{c}/{c} (1)_mask.png"],
    "deep": ["{c}/p/images/1.jpg", "{c}/p/images/2.jpg", "{c}/p/ground_truth/1.png"],
    "around": ["images/{c}/1.jpg", "images/{c}/2.jpg", "segmentations/{c}/1.png"],
}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("split", ["", "train/"])
def test_masks_are_left_out_and_reported(tmp_path: Path, kind: str, split: str) -> None:
    files = [split + name.format(c=label) for label in CLASSES for name in MASKS[kind]]
    found, listener = listed(tmp_path, *files)
    assert found == expected(split.rstrip("/"))
    assert any("masks" in m or "annotations" in m for m in listener.messages)


@pytest.mark.parametrize(
    "names",
    [["1.jpg", "masks/2.jpg"], ["masks/1.jpg"], ["a_mask.jpg", "b_mask.jpg"], ["labels/1.jpg"]],
)
def test_folders_and_files_named_like_masks_without_images_are_images(names: list[str]) -> None:
    folder = Path("carnival")
    paths = [folder / name for name in names]
    assert separate_masks(paths, folder) == (paths, [])


@given(st.lists(st.text("abm_sk1/ -", min_size=1, max_size=12), max_size=8))
def test_every_file_is_an_image_or_a_mask_and_some_are_images(names: list[str]) -> None:
    folder = Path("class")
    paths = sorted({folder / f"x{name}.png" for name in names})
    images, masks = separate_masks(paths, folder)
    assert sorted([*images, *masks]) == paths
    assert images or not paths


WORDS = [
    "train",
    "test_set",
    "val",
    "images",
    "masks",
    "cat",
    "dog",
    "docs",
    "pred",
    "2014",
    "runs",
]
FILES = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.sampled_from(["1.jpg", "2.jpg", "1_mask.jpg", "a.txt"]),
)


@settings(max_examples=300)
@given(st.sets(FILES, min_size=1, max_size=9))
def test_no_image_is_left_out_in_silence(names: set[str]) -> None:
    """Whatever the folders are: one sentence, or each image is used or reported."""
    with tempfile.TemporaryDirectory() as folder:
        root = touch(Path(folder), *names)
        try:
            listing = read_folder(root)
        except DataError as error:
            assert "\n" not in error.message and error.hint
            return
        used = [item.path for item in listing.items]
        assert len(set(used)) == len(used)
        left_out = set(root.rglob("*.jpg")) - {*used, *listing.stray}
        folders = {note.path for note in listing.notes if note.kind in LEFT_OUT}
        masks = sum(int(note.detail.split()[0]) for note in listing.notes if note.kind == "masks")
        assert sum(folders.isdisjoint(path.parents) for path in left_out) == masks


@given(st.text(max_size=20))
def test_a_name_is_a_split_only_with_one_word_for_it(name: str) -> None:
    part = part_named(name)
    words = ("train", "val", "test", "dev", "hold", "held", "eval", "trn")
    assert part is None or any(word in name.lower() for word in words)


@pytest.mark.parametrize("names", [["mask_1.jpg"], ["1.jpg", "label 2.jpg"], ["gt_r.jpg", "x.jpg"]])
def test_marked_names_without_their_image_are_images(names: list[str]) -> None:
    paths = [Path("cars") / name for name in names]
    assert separate_masks(paths, Path("cars")) == (paths, [])


@pytest.mark.parametrize("name", ["contest", "trainer", "latest", "invalid", "device", "valley"])
def test_words_that_contain_the_name_of_a_split_are_none(name: str) -> None:
    assert part_named(name) is None
    assert not is_hidden_name(name)


def test_files_without_the_extension_of_an_image_that_are_images(tmp_path: Path) -> None:
    touch(tmp_path, *in_classes(""), "ants/notes", "ants/list.txt")
    (tmp_path / "ants" / "photo.jpg?size=large").write_bytes(b"\xff\xd8\xff\xe0 JFIF")
    (tmp_path / "bees" / "download").write_bytes(b"\x89PNG\r\n\x1a\n")
    listener = Listener()
    listing = read_source(tmp_path, observer=listener)
    assert [path.name for path in listing.misnamed] == ["photo.jpg?size=large", "download"]
    assert any("2 files that begin as images do" in m and ".jpg" in m for m in listener.messages)


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        (["cat/1.CR2", "dog/1.CR2"], "2 .cr2", "camera raw"),
        (["cat/1.dcm", "dog/1.dcm", "dog/x.txt"], "2 .dcm, 1 .txt", "medical"),
        (["cat/1.mp4"], "1 .mp4", "frames"),
        (["train.npy"], "1 .npy", "tltool.finetune((images, labels)) in Python"),
        (
            ["raw/train-images-idx3-ubyte.gz", "raw/train-labels-idx1-ubyte.gz"],
            "2 .gz",
            "tfds:mnist",
        ),
        (["train-images.idx3-ubyte", "train-labels.idx1-ubyte"], "1 .idx1-ubyte", "tfds:mnist"),
        (["train_32x32.mat"], "1 .mat", "tfds:svhn_cropped"),
        (
            ["cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"],
            "3",
            "cifar100",
        ),
        (["train.csv", "test.csv"], "2 .csv", "train.csv"),
        (["train.zip", "test1.zip", "sample.csv"], "2 .zip", "or give one of them"),
        (["data_batch_1", "batches.meta"], "1 .meta", "tfds:cifar10"),
        (["data-00000-of-00001.arrow"], "1 .arrow", "to_parquet"),
        (["cat/1", "dog/2"], "2 without extension", "separate folder"),
    ],
)
def test_no_images_says_what_there_is_instead(
    tmp_path: Path, files: list[str], message: str, hint: str
) -> None:
    with pytest.raises(DataError, match="contains no images") as raised:
        read_source(touch(tmp_path, *files))
    assert message in raised.value.message
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (["train_images/1.jpg", "test_images/1.jpg", "train.csv"], "perhaps 'train.csv'"),
        ([f"{c}.{n}.jpg" for c in ("cat", "dog") for n in (1, 2)], "names ('cat', 'dog')"),
        (["IMG_1.jpg", "IMG_2.jpg"], "path and label"),
    ],
)
def test_images_without_class_folders_give_a_hint_to_a_table(
    tmp_path: Path, files: list[str], hint: str
) -> None:
    with pytest.raises(DataError, match="not in class folders") as raised:
        read_source(touch(tmp_path / "photos", *files))
    assert hint in str(raised.value.hint)


def test_one_class_folder_gives_a_hint_to_the_folder_above(tmp_path: Path) -> None:
    touch(tmp_path, "cat/IMG_1.jpg", "dog/IMG_2.jpg")
    with pytest.raises(DataError, match="not in class folders") as raised:
        read_source(tmp_path / "cat")
    assert f"one class of several, give the folder {tmp_path}" in str(raised.value.hint)


def test_the_check_reports_the_folders(tmp_path: Path) -> None:
    touch(tmp_path, *in_classes("photos/"), "photos/ants/1_mask.jpg", "photos/docs/1.jpg")
    (tmp_path / "photos" / "ants" / "download").write_bytes(b"GIF89a")
    findings = {each.kind: each for each in layout_findings(read_source(tmp_path))}
    assert set(findings) == {"masks", "unusual class folder", "wrapping folder", "misnamed files"}
    assert findings["masks"].severity == "warning"
    assert findings["masks"].path == tmp_path / "photos" / "ants" / "1_mask.jpg"
    assert all(each.suggestion for each in findings.values())
    assert set(findings) <= set(LAYOUT_KINDS)


@pytest.mark.parametrize(
    ("files", "groups"),
    [
        (["a/images/1.jpg", "b/images/nest/1.jpg"], [None, "b/images/nest"]),
        (["a/train/1.jpg", "a/test/day/1.jpg", "b/train/1.jpg"], ["a/test/day", None, None]),
    ],
)
def test_folders_of_all_images_of_a_class_are_no_groups(
    tmp_path: Path, files: list[str], groups: list[str | None]
) -> None:
    listing = assign_groups(read_source(touch(tmp_path, *files)), "folder")
    assert [item.group for item in listing.items] == groups
