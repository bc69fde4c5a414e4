"""The sample digits, as a folder and as a table."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tltool.data.sources.open import read_source
from tltool.errors import EnvironmentProblem, UsageError
from tltool.workflows.samples import write_digits, write_digits_csv


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "digits"
    assert write_digits(folder) == 1797
    return folder


def test_digits_make_one_folder_per_class(digits):
    written = Counter(path.parent.name for path in digits.rglob("*.png"))
    assert written == Counter(str(target) for target in load_digits().target)


def test_digits_are_legible(digits):
    with Image.open(digits / "0" / "0000.png") as image:
        assert (image.size, image.mode) == ((32, 32), "L")
        pixels = np.asarray(image)
    assert pixels[:, :2].max() < 60 < 180 < pixels.max()  # a bright ring on a dark ground
    assert pixels[14:18, 14:18].mean() < 60


def test_digits_are_the_same_every_time(digits, tmp_path):
    write_digits(tmp_path / "again")
    for path in digits.glob("[37]/*.png"):
        again = tmp_path / "again" / path.relative_to(digits)
        assert again.read_bytes() == path.read_bytes()


def test_an_empty_folder_is_used(tmp_path):
    assert write_digits(tmp_path) == 1797


def test_a_folder_that_is_not_empty_is_an_error_and_is_not_changed(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder") as caught:
        write_digits(tmp_path)
    assert "--out" in (caught.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_an_existing_file_is_an_error(tmp_path):
    (tmp_path / "digits").write_text("a file")
    with pytest.raises(UsageError):
        write_digits(tmp_path / "digits")


def test_a_folder_that_cannot_be_created_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        write_digits(tmp_path / "file" / "digits")


def test_the_table_contains_the_same_digits(tmp_path):
    assert write_digits_csv(tmp_path / "digits.csv") == 1797
    listing = read_source(tmp_path / "digits.csv")
    assert [item.label for item in listing.items] == [str(n) for n in load_digits().target]
    image = np.asarray(Image.open(listing.items[7].path))
    np.testing.assert_allclose(image, load_digits().images[7] * 255 / 16, atol=0.51)


def test_a_table_never_replaces_a_file(tmp_path):
    (tmp_path / "digits.csv").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        write_digits_csv(tmp_path / "digits.csv")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        write_digits_csv(tmp_path / "nowhere" / "digits.csv")
    with pytest.raises(UsageError, match="is not the name of a CSV file"):
        write_digits_csv(tmp_path / "digits")
    assert (tmp_path / "digits.csv").read_text() == "mine"
