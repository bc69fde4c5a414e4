"""Folders with a table of the labels beside the images: Hugging Face's, and labels.csv."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.data.test_table_repairs import text_table, touch
from tests.data.test_tables import Listener
from tltool.data.sources.open import read_images, read_source
from tltool.errors import DataError


def metadata(folder: Path, name: str, labels: dict[str, object], column: str = "label") -> None:
    touch(folder, *labels)
    if name.endswith("jsonl"):
        rows = [json.dumps({"file_name": file, column: label}) for file, label in labels.items()]
    else:
        rows = [f"file_name,{column}", *(f"{file},{label}" for file, label in labels.items())]
    text_table(folder, "\n".join(rows) + "\n", name)


def counts(source: Path, **how: object) -> Counter[tuple[str, str | None]]:
    return Counter((item.label, item.given_split) for item in read_source(source, **how).items)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "labels.csv", "labels.jsonl"])
def test_a_table_beside_the_images(tmp_path: Path, name: str) -> None:
    metadata(tmp_path, name, {"1.jpg": "ant", "2.jpg": "bee", "3.jpg": "bee"})
    touch(tmp_path, "4.jpg")
    listener = Listener()
    assert counts(tmp_path, observer=listener) == {("ant", None): 1, ("bee", None): 2}
    listing = read_source(tmp_path)
    assert listing.root == tmp_path
    assert listing.stray == (tmp_path / "4.jpg",)
    assert any(name in message for message in listener.messages)
    assert any("1 image of" in m and "'4.jpg'" in m for m in listener.messages)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_table_in_each_split_folder(tmp_path: Path, name: str) -> None:
    for split in ("train", "test"):
        metadata(tmp_path / split, name, {"1.jpg": 0, "2.jpg": 1})
    assert counts(tmp_path) == {(c, s): 1 for c in ("0", "1") for s in ("train", "test")}


@pytest.mark.parametrize("text", ["", "file_name,text\n3.jpg,a caption\n"])
def test_a_test_folder_without_labels_is_left_out(tmp_path: Path, text: str) -> None:
    metadata(tmp_path / "train", "metadata.csv", {"1.jpg": "a", "2.jpg": "b"})
    touch(tmp_path, "test/3.jpg")
    if text:
        text_table(tmp_path / "test", text, "metadata.csv")
    listener = Listener()
    assert counts(tmp_path, observer=listener) == {("a", "train"): 1, ("b", "train"): 1}
    assert any("'test/3.jpg'" in message for message in listener.messages)


def test_one_table_for_split_folders(tmp_path: Path) -> None:
    metadata(
        tmp_path,
        "metadata.csv",
        {"train/1.jpg": "a", "train/2.jpg": "b", "validation/3.jpg": "a"},
    )
    assert counts(tmp_path) == {("a", "train"): 1, ("b", "train"): 1, ("a", "validation"): 1}


def test_names_without_folder_and_extension(tmp_path: Path) -> None:
    touch(tmp_path, "train/a1.jpg", "train/b2.jpg", "test/c3.jpg")
    text_table(tmp_path, "id,breed\na1,collie\nb2,pug\n", "labels.csv")
    listener = Listener()
    assert {label for label, _ in counts(tmp_path, observer=listener)} == {"collie", "pug"}
    assert any("extension added" in message for message in listener.messages)


def test_the_archive_of_such_a_folder(tmp_path: Path) -> None:
    metadata(tmp_path / "set", "metadata.jsonl", {"1.jpg": "ant", "2.jpg": "bee"})
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    assert counts(Path(archive), cache=tmp_path / "cache") == {("ant", None): 1, ("bee", None): 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "id,name\n0,ant\n1,bee\n"),
        ("labels.csv", "path,label\nnone.jpg,x\n"),
        ("labels.csv", "path,label\nant/1.jpg,ant\nbee/2.jpg,bee\n"),
        ("metadata.csv", "file_name,text\nant/1.jpg,an ant\n"),
        ("metadata.jsonl", '{"file_name": "ant/1.jpg", "text": "an ant"}\n'),
    ],
)
@pytest.mark.parametrize("split", ["", "train/"])
def test_class_folders_stay_the_classes_where_a_table_adds_no_labels(
    tmp_path: Path, name: str, text: str, split: str
) -> None:
    touch(tmp_path, f"{split}ant/1.jpg", f"{split}ant/9.jpg", f"{split}bee/2.jpg", "logo.png")
    text_table(tmp_path, text, name)
    found = counts(tmp_path)
    assert Counter(label for label, _ in found.elements()) == {"ant": 2, "bee": 1}


def test_an_invalid_table_beside_class_folders_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "site1/1.jpg", "site2/2.jpg")
    text_table(tmp_path, "path,label\nsite1/1.jpg,ok\nsite2/3.jpg,bad\n", "labels.csv")
    listener = Listener()
    assert {label for label, _ in counts(tmp_path, observer=listener)} == {"site1", "site2"}
    assert any("cannot be used" in m and "site2/3.jpg in line 3" in m for m in listener.messages)


def test_a_table_with_other_labels_than_the_folders_is_used(tmp_path: Path) -> None:
    touch(tmp_path, "site1/1.jpg", "site1/2.jpg", "site2/3.jpg")
    rows = "path,label\nsite1/1.jpg,ok\nsite1/2.jpg,bad\nsite2/3.jpg,ok\n"
    text_table(tmp_path, rows, "labels.csv")
    listener = Listener()
    assert counts(tmp_path, observer=listener) == {("ok", None): 2, ("bad", None): 1}
    assert any("labels.csv" in message for message in listener.messages)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            '{"file_name": "1.jpg", "text": "a caption"}',
            "no column 'label', and the images are not",
        ),
        ('{"file_name": "1.jpg", "objects": {"bbox": [1]}}', "no column 'label', and the images"),
        ('{"file_name": "2.jpg", "label": "a"}', r"files are missing \(2.jpg in line 1\)"),
        ('{"file_name": "1.jpg", "label": ["a", "b"]}', "the label is a list"),
    ],
)
def test_metadata_without_one_label_per_image(tmp_path: Path, rows: str, message: str) -> None:
    touch(tmp_path, "1.jpg")
    text_table(tmp_path, rows, "metadata.jsonl")
    with pytest.raises(DataError, match=message):
        read_source(tmp_path)
    assert len(read_images(tmp_path).items) == 1


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (("data/train-00000-of-00001.parquet", "README.md"), "archives: parquet:/"),
        (("train-000.tar", "train-001.tar"), "archives: wds:/"),
        (("train/0.tar", "test/0.tar"), "archives: wds:/"),
        (("0001.jpg", "0001.cls", "0002.jpg", "0002.cls"), "wds:PATH"),
    ],
)
def test_samples_in_shards_have_their_own_notation(
    tmp_path: Path, files: tuple[str, ...], hint: str
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError) as raised:
        read_source(tmp_path)
    assert raised.value.hint is not None
    assert hint in raised.value.hint


def test_the_archive_of_samples_has_its_own_notation(tmp_path: Path) -> None:
    touch(tmp_path / "set", "1.jpg", "1.cls", "2.jpg", "2.cls")
    archive = shutil.make_archive(str(tmp_path / "set"), "tar", tmp_path / "set")
    with pytest.raises(DataError, match="format of WebDataset") as raised:
        read_source(archive, cache=tmp_path / "cache")
    assert archive in raised.value.message


def test_two_tables_are_an_error(tmp_path: Path) -> None:
    metadata(tmp_path, "metadata.csv", {"1.jpg": "a"})
    metadata(tmp_path, "metadata.jsonl", {"1.jpg": "b"})
    with pytest.raises(DataError, match=r"two tables of labels: 'metadata.jsonl', 'metadata.csv'"):
        read_source(tmp_path)
