"""Tables of pixels in other forms: in one cell, colours in planes, other columns beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.test_table_repairs import text_table
from tests.data.test_tables import Listener, random_images, shown_pixels
from tltool.data.sources.open import is_source, read_images, read_source
from tltool.errors import DataError


def smooth_images(count: int, height: int, width: int) -> np.ndarray:
    """Return colour gradients with a little noise: uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([200 * x / width, 200 * y / height, 200 - 100 * x / width], -1)
    return np.clip(base + rng.integers(0, 30, (count, height, width, 3)), 0, 255).astype(np.uint8)


def planes_table(path: Path, images: np.ndarray, *, planes: bool) -> Path:
    rows = images.transpose(0, 3, 1, 2) if planes else images
    rows = rows.reshape(len(images), -1)
    header = "label," + ",".join(f"pixel{n}" for n in range(rows.shape[1]))
    lines = [f"{n % 2},{','.join(map(str, row))}" for n, row in enumerate(rows)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("planes", "pixels", "message"),
    [
        (True, None, "are read as planes"),
        (False, None, None),
        (True, "3x8x8", None),
        (False, "8x8x3", None),
    ],
)
def test_colours_are_read_in_their_order(
    tmp_path: Path, planes: bool, pixels: str | None, message: str | None
) -> None:
    images = smooth_images(6, 8, 8)
    path = planes_table(tmp_path / "p.csv", images, planes=planes)
    for _ in range(2):  # the second time from the cache
        listener = Listener()
        listing = read_source(path, pixels=pixels, observer=listener)
        np.testing.assert_array_equal(shown_pixels(listing), images)
        assert [m for m in listener.messages if "colours" in m] == (
            [m for m in listener.messages if message in m] if message else []
        )


def test_a_setting_against_the_look_of_the_images_is_kept_and_reported(tmp_path: Path) -> None:
    images = smooth_images(6, 4, 8)
    path = planes_table(tmp_path / "p.csv", images, planes=True)
    listener = Listener()
    found = shown_pixels(read_source(path, pixels="4x8x3", observer=listener))
    np.testing.assert_array_equal(found.reshape(6, 3, 4, 8).transpose(0, 2, 3, 1), images)
    assert any("look mixed up: set data.pixels=3x4x8" in m for m in listener.messages)


def test_an_unclear_order_is_reported(tmp_path: Path) -> None:
    images = random_images(4, 6, 6, 3)
    listener = Listener()
    listing = read_source(planes_table(tmp_path / "p.csv", images, planes=False), observer=listener)
    np.testing.assert_array_equal(shown_pixels(listing), images)
    assert any("read as adjacent; if all red" in message for message in listener.messages)


@pytest.mark.parametrize(
    "cell", ["1 2 3 4", " 1  2 3 4 ", '"1,2,3,4"', '"[1, 2, 3, 4]"', "1.0 2.0 3 4", '"1 2\n3 4"']
)
def test_all_pixels_in_one_cell(tmp_path: Path, cell: str) -> None:
    path = text_table(tmp_path, f"emotion,pixels\n0,{cell}\n1,{cell}\n")
    assert is_source(path)
    listing = read_source(path)
    assert [item.label for item in listing.items] == ["0", "1"]
    np.testing.assert_array_equal(shown_pixels(listing)[0], [[1, 2], [3, 4]])


def test_the_splits_of_fer2013(tmp_path: Path) -> None:
    usages = ["Training", "Training", "PublicTest", "PrivateTest"]
    rows = "".join(f"{n % 2},1 2 3 4,{usage}\n" for n, usage in enumerate(usages))
    listener = Listener()
    items = read_source(
        text_table(tmp_path, f"emotion,pixels,Usage\n{rows}"), observer=listener
    ).items
    assert [item.given_split for item in items] == ["train", "train", "validation", "test"]
    assert any("'usage' of" in message for message in listener.messages)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,1 2 3 4\n1,1 2 3\n", "line 3: 3 pixels, but the first image has 4"),
        ("0,1 2 3 4\n1,1 2 x 4\n", r"line 3: the pixels are '1 2 x 4'"),
        ("0,307200\n1,307200\n", "line 2: the pixels are '307200'"),
        ("0,1 2 3 400\n", "line 2: pixel 3 is '400'"),
        ("0,\n", "line 2: the pixels are ''"),
        ("", "contains no images"),
    ],
)
def test_bad_cells_of_pixels(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(text_table(tmp_path, f"label,pixels\n{rows}"))


def test_an_id_beside_the_pixels(tmp_path: Path) -> None:
    path = text_table(tmp_path, "id,pixel0,pixel1,pixel2,pixel3,class\n7,1,2,3,4,a\n8,5,6,7,8,b\n")
    items = read_source(path).items
    assert [(item.label, item.columns) for item in items] == [
        ("a", (("id", "7"),)), ("b", (("id", "8"),)),
    ]  # fmt: skip
    unlabelled = text_table(tmp_path, "id,pixel0,pixel1,pixel2,pixel3\n7,1,2,3,4\n")
    assert len(read_images(unlabelled).items) == 1


@pytest.mark.parametrize("names", ["pixel_{}", "px{}", "Pixel {}", "pixel.{}", "pix-{}"])
def test_other_names_of_pixels(tmp_path: Path, names: str) -> None:
    header = ",".join(names.format(n) for n in range(4))
    path = text_table(tmp_path, f"label,{header}\na,1,2,3,4\nb,5,6,7,8\n")
    assert shown_pixels(read_source(path)).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_the_names_that_scikit_learn_gives_to_its_digits(tmp_path: Path) -> None:
    header = ",".join(f"pixel_{y}_{x}" for y in range(2) for x in range(3))
    path = text_table(tmp_path, f"{header},target\n1,2,3,4,5,6,a\n6,5,4,3,2,1,b\n")
    assert shown_pixels(read_source(path))[0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_rows_without_content_are_no_images(tmp_path: Path) -> None:
    path = text_table(
        tmp_path, "label,pixel0,pixel1,pixel2,pixel3,,\na,1,2,3,4,,\nb,1,2,3,4\n,,,,\n"
    )
    with pytest.raises(DataError, match="line 3: 5 cells, but there are 7 columns"):
        read_source(path)
    text = path.read_text().replace("b,1,2,3,4\n", "b,1,2,3,4,,\n").replace(",,,,\n", ",,,,,,\n")
    assert len(read_source(text_table(tmp_path, text)).items) == 2
