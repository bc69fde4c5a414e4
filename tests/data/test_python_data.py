"""Images of a Python program as a source: arrays, datasets, batches and tables of pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from tltool.data.sources.open import read_source
from tltool.data.sources.python_data import as_source
from tltool.errors import DataError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 0, 1, 0, 1])


class Batches:
    """As ``keras.utils.PyDataset``."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(2 * index, 2 * index + 2)
        return IMAGES[part].astype("float32"), np.eye(2)[LABELS[part]]


def source_of(data: Any, cache: Path, class_names: list[str] | None = None) -> str:
    return as_source(data, class_names=class_names, cache=cache)


def read_back(source: str) -> list[tuple[str, np.ndarray]]:
    items = read_source(source).items
    return [(item.label, np.asarray(Image.open(item.path))) for item in items]


DATASET = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
KINDS = {
    "arrays": (IMAGES, LABELS),
    "list": list(zip(IMAGES, LABELS.tolist(), strict=True)),
    "dataset": DATASET,
    "batched dataset": DATASET.batch(4),
    "float dataset": DATASET.map(lambda image, label: (tf.cast(image, tf.float32), label)),
    "batches": Batches(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_and_labels_are_read_back_unchanged(kind: str, tmp_path: Path) -> None:
    found = read_back(source_of(KINDS[kind], tmp_path, ["ant", "bee"]))
    assert [label for label, _ in found] == ["ant", "bee"] * 3
    np.testing.assert_array_equal(np.stack([pixels for _, pixels in found]), IMAGES)


def test_the_same_images_are_the_same_source(tmp_path: Path) -> None:
    first = source_of((IMAGES, LABELS), tmp_path)
    assert source_of(DATASET, tmp_path) == first
    assert source_of((IMAGES[::-1], LABELS), tmp_path) != first
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_labels_may_be_names_and_numbers(tmp_path: Path) -> None:
    names = ["wasp", b"bee", "wasp", b"bee", "wasp", b"bee"]
    pairs = list(zip(IMAGES, names, strict=True))
    assert {label for label, _ in read_back(source_of(pairs, tmp_path))} == {"bee", "wasp"}
    assert {label for label, _ in read_back(source_of(DATASET, tmp_path))} == {"0", "1"}


def test_parts_become_splits(tmp_path: Path) -> None:
    grey = IMAGES[..., 0]
    source = source_of({"train": (IMAGES, LABELS), "test": (grey, LABELS)}, tmp_path)
    items = read_source(source).items
    assert [item.given_split for item in items] == ["train"] * 6 + ["test"] * 6
    np.testing.assert_array_equal(np.asarray(Image.open(items[6].path)), grey[0])


def test_a_table_of_pandas_names_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(f"{number}.png")
    table = pd.DataFrame(
        {"filename": [f"{n}.png" for n in range(6)], "class": ["a", "b"] * 3, "score": 0.5}
    )
    found = read_back(source_of(table, tmp_path / "cache"))
    assert [label for label, _ in found] == ["a", "b"] * 3
    np.testing.assert_array_equal(found[3][1], IMAGES[3])


WRONG = {
    "a number": (3, UsageError, "of type int, without a length"),
    "a generator": ((pair for pair in KINDS["list"]), UsageError, "without a length"),
    "an endless dataset": (DATASET.repeat(), UsageError, "infinite dataset"),
    "no labels": (list(IMAGES), UsageError, "without labels"),
    "lengths": ((IMAGES, LABELS[:5]), DataError, "6 images and 5 labels"),
    "0 to 1": ((IMAGES / 255, LABELS), DataError, "image 0 of data has values from 0"),
    "preprocessed": ((IMAGES - 128.0, LABELS), DataError, "before any preprocessing|has values"),
    "four channels": ((np.zeros((6, 5, 4, 4), "uint8"), LABELS), DataError, "5 x 4 x 4"),
    "two classes": ((IMAGES, np.ones((6, 2))), DataError, "which is not one class"),
    "half a class": ((IMAGES, LABELS + 0.5), DataError, "has the label"),
    "a part": ({"train": (IMAGES, LABELS), "tset": (IMAGES, LABELS)}, UsageError, "'tset'"),
    "a table": (pd.DataFrame({"path": ["a.png"], "x": [1.5], "y": [2]}), DataError, "no column"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_labelled_images_is_one_sentence_and_leaves_nothing(
    case: str, tmp_path: Path
) -> None:
    data, error, sentence = WRONG[case]
    with pytest.raises(error, match=sentence) as raised:
        source_of(data, tmp_path / "cache")
    assert raised.value.hint
    assert not list((tmp_path / "cache").glob("*"))


def test_a_label_without_a_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the label 1, and class_names has 1 names"):
        source_of((IMAGES, LABELS), tmp_path, ["ant"])


def test_class_names_do_not_belong_to_a_folder(tmp_path: Path) -> None:
    assert source_of(tmp_path, tmp_path) == str(tmp_path)
    with pytest.raises(UsageError, match="class_names"):
        source_of(str(tmp_path), tmp_path, ["ant", "bee"])
