"""Labels of monitored images are matched by path, and are classes of the model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tltool.errors import DataError
from tltool.events import SilentObserver
from tltool.workflows.monitoring.label_file import correct_predictions

NAMES = ("new/a/1.jpg", "new/b/2.jpg", "new/b/3.jpg", "4.jpg")
CLASSES = ("cat", "dog")


class Messages(SilentObserver):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str, **_: object) -> None:
        self.texts.append(text)


def correct(folder: Path, rows: str) -> tuple[list[bool], list[str]]:
    """All images are predicted to be cats."""
    (folder / "labels.csv").write_text(f"path,label\n{rows}", encoding="utf-8")
    messages = Messages()
    table = folder / "labels.csv"
    return correct_predictions(table, NAMES, [0] * 4, CLASSES, messages).tolist(), messages.texts


def test_empty_labels_are_left_out_and_spaces_do_not_count(tmp_path):
    rows, messages = correct(tmp_path, "new/a/1.jpg,cat \nnew/b/2.jpg,\n3.jpg, dog\nx.jpg,dog\n")
    assert rows == [True, False]
    assert "1 row has no label" in messages[0] and "1 of 3 labels are of other" in messages[1]


def test_a_label_that_is_no_class_is_no_mistake_of_the_model(tmp_path):
    with pytest.raises(DataError, match=r"'1\.jpg' the label 'Cat'.*Did you mean 'cat'"):
        correct(tmp_path, "1.jpg,Cat\n")


def test_an_image_of_another_folder_is_another_image(tmp_path):
    rows = "/data/new/a/1.jpg,cat\nold/b/2.jpg,dog\nb/3.jpg,dog\n2025/4.jpg,cat\n"
    assert correct(tmp_path, rows)[0] == [True, False, True]
    with pytest.raises(DataError, match="none of the 4 images"):
        correct(tmp_path, "old/b/2.jpg,dog\n")
