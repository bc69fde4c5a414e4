"""Loading an export by name or version, and the errors when there is none."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.export.tiny_classifier import NAMES, SPEC, encoded
from tltool.errors import DataError, GateError, UsageError
from tltool.export.exported_model import load_exported
from tltool.export.model_folder import version_folder


def test_a_loaded_export_predicts_and_has_its_class_names(exported: Path) -> None:
    loaded = load_exported(exported.parent)
    probabilities, ok = loaded.predict([encoded(1), b"junk"])
    assert probabilities.dtype == np.float32 and probabilities.shape == (2, 3)
    assert ok.tolist() == [True, False]
    assert loaded.class_names == tuple(NAMES) and loaded.decode == SPEC
    assert loaded.metadata["run"] == "tiny-1" and loaded.path == exported


def test_no_images_give_empty_arrays(exported: Path) -> None:
    probabilities, ok = load_exported(exported).predict([])
    assert probabilities.shape == (0, 3) and ok.shape == (0,)


def test_the_newest_version_is_the_highest_number(exported: Path, tmp_path: Path) -> None:
    for version in ("9", "10"):
        shutil.copytree(exported, tmp_path / version)
    (tmp_path / "11").mkdir()  # empty, so no version
    (tmp_path / ".tltool-export-12").mkdir()
    assert version_folder(tmp_path) == tmp_path / "10"
    assert version_folder(tmp_path / "9") == tmp_path / "9"


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        load_exported(tmp_path / "nothing")


def test_a_folder_without_a_saved_model_is_an_error(tmp_path: Path) -> None:
    assert version_folder(tmp_path) is None
    with pytest.raises(DataError, match="contains no SavedModel") as error:
        load_exported(tmp_path)
    assert error.value.hint


def test_an_image_file_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(0))
    with pytest.raises(DataError, match="contains no SavedModel"):
        load_exported(tmp_path / "photo.jpg")


def test_a_saved_model_of_another_program_is_an_error(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(DataError, match=r"metadata\.json is missing"):
        load_exported(tmp_path)


def test_a_damaged_saved_model_is_an_error(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "1")
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\x00damaged")
    with pytest.raises(GateError, match="damaged"):
        load_exported(tmp_path)
    with pytest.raises(DataError, match="damaged"):
        load_exported(tmp_path, trust=True)
