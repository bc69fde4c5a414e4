"""CSV, TSV and JSONL files as sources: of paths and of pixels."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tltool.data.catalog import Item
from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_images, read_source
from tltool.data.splits.split_groups import make_split_groups
from tltool.errors import DataError, TltoolError, UsageError
from tltool.events import SilentObserver

FILES = ("cat/1.jpg", "cat/2.jpg", "dog, big/1.jpg", "dog, big/2.jpg")


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def table(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def read(path: Path, **how: Any) -> list[tuple[str, str]]:
    listing = read_source(path, **how)
    return [(listing.shown(item), item.label) for item in listing.items]


GOOD = 'path,label\ncat/1.jpg,cat\n"dog, big/1.jpg",dog\n'


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("data.csv", GOOD, "utf-8"),
        ("data.CSV", GOOD, "utf-8-sig"),
        ("data.csv", GOOD.replace("\n", "\r\n"), "utf-8"),
        ("data.csv", GOOD.replace("path,label", " Path , LABEL").replace(",cat", ", cat"), "utf-8"),
        ("data.csv", "\n" + GOOD + "\n\n", "utf-8"),
        ("data.csv", "path;label\ncat/1.jpg;cat\ndog, big/1.jpg;dog\n", "utf-8-sig"),
        ("data.tsv", "label\tpath\ncat\tcat/1.jpg\ndog\tdog, big/1.jpg\n", "utf-8"),
        (
            "data.jsonl",
            '{"path": "cat/1.jpg", "label": "cat"}\n\n{"label":"dog","path":"dog, big/1.jpg"}',
            "utf-8",
        ),
    ],
)
def test_paths_and_labels_in_every_form(folder: Path, name: str, text: str, encoding: str) -> None:
    path = table(folder, text, name, encoding)
    wanted = [("cat/1.jpg", "cat"), ("dog, big/1.jpg", "dog")]
    assert read(path) == [(str(path / name), label) for name, label in wanted]
    assert [item.path for item in read_source(path).items] == [folder / n for n, _ in wanted]


def test_split_group_weight_and_fold_are_read(folder: Path) -> None:
    path = table(
        folder,
        "path,label,split,group,weight,fold\n"
        "cat/1.jpg,cat,Training,g1,2.5,0\n"
        'cat/2.jpg,cat,valid,,,1\n"dog, big/1.jpg",dog,train,,,\n"dog, big/2.jpg",dog,,,1,\n',
    )
    assert [
        (item.given_split, item.group, item.weight, item.fold) for item in read_source(path).items
    ] == [
        ("train", "g1", 2.5, 0),
        ("validation", None, 1.0, 1),
        ("train", None, 1.0, None),
        (None, None, 1.0, None),
    ]


def test_images_outside_the_folder_are_allowed_and_reported(folder: Path, tmp_path: Path) -> None:
    (folder / "lists").mkdir()
    path = table(
        folder / "lists", GOOD.replace("cat/1", f"{folder}/cat/1").replace("dog, ", "../dog, ")
    )
    listener = Listener()
    listing = read_source(path, observer=listener)
    assert [item.path.read_bytes() for item in listing.items] == [b"x", b"x"]
    assert any("2 images" in message and "outside" in message for message in listener.messages)


def test_unused_columns_are_reported(folder: Path) -> None:
    listener = Listener()
    read_source(table(folder, GOOD.replace("label", "label").replace("cat\n", "cat\n")))
    text = 'path,label,Camera\ncat/1.jpg,cat,x\n"dog, big/1.jpg",dog,y\n'
    read_source(table(folder, text), observer=listener)
    assert listener.messages[0].endswith(
        "that are not used in training, only as slices of the evaluation: 'camera'"
    )


@pytest.mark.parametrize(
    ("column", "values", "warned"),
    [
        ("subset", ("train", "test"), True),
        ("Usage", ("Training", "PublicTest"), True),
        ("is_train", ("True", "False"), True),
        ("partition", ("0", "1"), True),
        ("transport", ("train", "bus"), False),
        ("wings", ("0", "1"), False),
    ],
)
def test_a_split_in_a_column_of_another_name_is_reported(
    folder: Path, column: str, values: tuple[str, str], warned: bool
) -> None:
    listener = Listener()
    text = f'path,label,{column}\ncat/1.jpg,cat,{values[0]}\n"dog, big/1.jpg",dog,{values[1]}\n'
    read_source(table(folder, text), observer=listener)
    found = [one for one in listener.messages if "may say the split of each image" in one]
    assert len(found) == warned


def test_files_whose_names_are_not_utf8(folder: Path) -> None:
    name = b"cat/caf\xe9.jpg"
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    (folder / "data.csv").write_bytes(b"path,label\n" + name + b",cat\ncat/1.jpg,dog\n")
    assert read_source(folder / "data.csv").items[0].path.read_bytes() == b"x"
    (folder / "data.csv").write_bytes(b"path,label\ncat/1.jpg,caf\xe9\n")
    with pytest.raises(DataError, match=r"class in line 2.*not valid UTF-8") as raised:
        read_source(folder / "data.csv")
    assert raised.value.hint == "save the table as UTF-8"


def test_a_separate_test_table(folder: Path) -> None:
    test = table(folder, "path,label\ncat/2.jpg,cat\n", "test.csv")
    listing = read_source(table(folder, GOOD), test=test)
    assert [item.given_split for item in listing.items] == [None, None, "test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("photo,kind\ncat/1.jpg,cat\n", "no column 'path' and no column 'label'; its col"),
        ("path,lable,x\ncat/1.jpg,cat,\n", "Did you mean 'lable'"),
        ("path,label,label\n", "2 columns named 'label'"),
        ("path,label\n", "contains no images"),
        (GOOD + "cat/2.jpg,\n", r"the label is empty \(line 4\)"),
        (GOOD + ",cat\n", r"the path is empty \(line 4\)"),
        (GOOD + "cat/2.jpg,cat,x\n", "line 4: 3 cells, but there are 2 columns"),
        (GOOD + "cat/../cat/1.jpg,cat\n", r"listed twice \(cat/../cat/1.jpg in lines 2 and 4\)"),
        (GOOD + "cat/1.jpg,dog\n", r"different labels \(cat/1.jpg in .* 2 and 4: 'cat' and 'dog'"),
        (GOOD + "a.jpg,cat\nb.jpg,cat\n", r"missing \(a.jpg in line 4, b.jpg in line 5\)"),
        (GOOD + "a\0.jpg,cat\n", "files are missing"),
        (GOOD.replace("dog\n", "cat\n"), "only 1 class"),
        ("path,label,split\ncat/1.jpg,cat,other\n", "the split must be one of train.*'other'"),
        ("path,label,split\ncat/1.jpg,cat,test\n", "no training images"),
        ("path,label,weight\ncat/1.jpg,cat,-1\n", "weight must be a number above 0.*line 2: '-1'"),
        ("path;label;weight\ncat/1.jpg;cat;0,5\n", r"line 2: '0,5' \(write 0.5\)"),
        ("path,label,split\ncat/1.jpg,cat,Validate\n", "'Validate'. Did you mean 'validation'"),
        ("path,label,weight\ncat/1.jpg,cat,nan\n", "weight must be a number above 0"),
        ("path,label,fold\ncat/1.jpg,cat,1.5\n", "fold must be a whole number"),
        ('path,label\n"cat/1.jpg,cat\n' + "x" * 200_000, "lines 2 to 3: 1 cells"),
    ],
)  # fmt: skip
def test_a_bad_table_in_one_sentence(folder: Path, text: str, message: str) -> None:
    path = table(folder, text)
    with pytest.raises(DataError, match=message) as raised:
        read_source(path)
    assert "\n" not in raised.value.message
    assert str(path) in raised.value.message
    assert path.read_bytes() == text.encode()


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"path": ["a"]}', "[" * 100_000, '{"path": 1' + "0" * 5000 + "}"]
)
def test_bad_lines_of_jsonl(folder: Path, line: str) -> None:
    text = '{"path": "cat/1.jpg", "label": "cat"}\n' + line
    with pytest.raises(DataError, match="line 2: not a JSON object"):
        read_source(table(folder, text, "data.jsonl"))


@pytest.mark.parametrize("column", ["path", "label", "group", "split", "weight", "camera"])
def test_a_lone_surrogate_in_jsonl_is_reported_with_its_line(folder: Path, column: str) -> None:
    row = {"path": "cat/1.jpg", "label": "cat", column: "a\ud800"}
    with pytest.raises(
        DataError, match=r"line 2: 'a\\ud800' contains half of a surrogate pair"
    ) as raised:
        read_source(table(folder, "\n" + json.dumps(row), "data.jsonl"))
    raised.value.message.encode()


def test_a_lone_surrogate_as_a_column_of_jsonl(folder: Path) -> None:
    row = {"path": "cat/1.jpg", "label": "cat", "\udfff": 1}
    with pytest.raises(DataError, match=r"line 1.*half of a surrogate pair"):
        read_source(table(folder, json.dumps(row), "data.jsonl"))


def test_escaped_bytes_are_not_a_valid_label(folder: Path) -> None:
    row = {"path": "cat/1.jpg", "label": "\udcc3\udca9"}  # the two bytes of an é in UTF-8
    with pytest.raises(DataError, match=r"class in line 1.*not valid UTF-8"):
        read_source(table(folder, json.dumps(row), "data.jsonl"))


def test_utf16_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match="UTF-16"):
        read_source(table(folder, GOOD, encoding="utf-16"))


def test_many_missing_files_are_counted(folder: Path) -> None:
    text = "path,label\n" + "".join(f"{n}.jpg,cat\n" for n in range(100))
    with pytest.raises(DataError, match=r"19\.jpg in line 21 and 80 more"):
        read_source(table(folder, text))


def test_prediction_needs_no_label(folder: Path) -> None:
    listing = read_images(table(folder, "path\ncat/1.jpg\n"))
    assert [item.path for item in listing.items] == [folder / "cat/1.jpg"]


# pixels ---------------------------------------------------------------------------------------


def pixels_csv(
    path: Path, images: np.ndarray, labels: list[Any] | None, columns: str = "pixel{}"
) -> Path:
    rows = images.reshape(len(images), -1)
    names = [columns.format(n) for n in range(rows.shape[1])]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(["label"] if labels else []), *names])
        for number, row in enumerate(rows):
            writer.writerow([*([labels[number]] if labels else []), *row])
    return path


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def shown_pixels(listing: Listing) -> np.ndarray:
    return np.stack([np.asarray(Image.open(item.path)) for item in listing.items])


@pytest.mark.parametrize("shape", [(4, 5, 5), (4, 6, 6, 3)])
@pytest.mark.parametrize("columns", ["pixel{}", "{}"])
def test_rows_of_pixels_are_images_grey_or_rgb(
    tmp_path: Path, shape: tuple[int, ...], columns: str
) -> None:
    images = random_images(*shape)
    listing = read_source(pixels_csv(tmp_path / "p.csv", images, [0, 1, 0, 1], columns))
    np.testing.assert_array_equal(shown_pixels(listing), images)
    assert [item.label for item in listing.items] == ["0", "1", "0", "1"]
    assert listing.shown(listing.items[0]) == str(tmp_path / "p.csv" / "000001.png")


@pytest.mark.parametrize(
    ("pixels", "shape"), [("2x8", (2, 8)), ("4x4x1", (4, 4)), ("2x3x3", (2, 3, 3))]
)
def test_an_explicit_shape(tmp_path: Path, pixels: str, shape: tuple[int, ...]) -> None:
    images = random_images(2, *shape)
    listing = read_source(pixels_csv(tmp_path / "p.csv", images, ["a", "b"]), pixels=pixels)
    np.testing.assert_array_equal(shown_pixels(listing), images)


def named_pixels(path: Path, names: list[str], row: np.ndarray) -> Path:
    return table(
        path.parent, f"label,{','.join(names)}\n" + f"a,{','.join(map(str, row))}\n" * 2, path.name
    )


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        ([f"pixel{n}" for n in range(12)], "3x4"),
        ([f"pixel{n}" for n in range(1, 13)], "2x6"),
        ([f"pixel{n:03d}" for n in range(12)], "2x2x3"),
        ([str(n) for n in range(12)], "4x3"),
        ([f"{y}x{x}" for y in (1, 2) for x in range(1, 7)], "2x6"),
        ([f"{y}x{x}" for y in range(3) for x in range(4)], "3x4"),
    ],
)
@pytest.mark.parametrize("order", [sorted, reversed])
def test_pixels_are_ordered_by_their_names(
    tmp_path: Path, names: list[str], shape: str, order: Any
) -> None:
    image = random_images(12)
    known = dict(zip(names, image, strict=True))
    columns = list(order(names))
    path = named_pixels(tmp_path / "p.csv", columns, np.array([known[n] for n in columns]))
    listing = read_source(path, min_classes=1, pixels=shape)
    np.testing.assert_array_equal(shown_pixels(listing)[0].ravel(), image)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pixel0", "pixel1", "pixel2", "pixel4"], "no pixel column 'pixel3'"),
        (["pixel2", "pixel3", "pixel4", "pixel5"], "no pixel column 'pixel0'"),
        (["pixel0", "pixel1", "pixel01", "pixel2"], "'pixel1' and 'pixel01' are the same pixel"),
        (["pixel0", "1", "2", "3"], "pixel columns of different kinds: 'pixel0' and '1'"),
        (["1x1", "pixel1", "pixel2", "pixel3"], "different kinds: '1x1' and 'pixel1'"),
        (["1x1", "1x2", "2x1", "2x3"], "no pixel column '1x3'"),
    ],
)
def test_missing_and_duplicate_pixels(tmp_path: Path, names: list[str], message: str) -> None:
    path = named_pixels(tmp_path / "p.csv", names, np.zeros(4, np.uint8))
    with pytest.raises(DataError, match=message):
        read_source(path, min_classes=1)


def test_the_names_of_pixels_define_the_shape(tmp_path: Path) -> None:
    names = [f"{y}x{x}" for y in range(1, 3) for x in range(1, 9)]
    path = named_pixels(tmp_path / "p.csv", names, np.arange(16))
    assert shown_pixels(read_source(path, min_classes=1)).shape == (2, 2, 8)
    with pytest.raises(DataError, match=r"define 2 rows and 8 columns.*4x4"):
        read_source(path, min_classes=1, pixels="4x4")


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_row_numbers_that_pandas_writes_are_ignored(tmp_path: Path, name: str) -> None:
    listener = Listener()
    path = table(tmp_path, f"{name},label,0,1,2,3\n0,a,1,2,3,4\n1,b,5,6,7,8\n")
    assert len(read_source(path, observer=listener).items) == 2
    assert any("row numbers" in message for message in listener.messages)


def test_columns_named_by_years_are_not_pixels(folder: Path) -> None:
    path = table(folder, 'path,label,2019,2020\ncat/1.jpg,cat,1,2\n"dog, big/1.jpg",dog,3,4\n')
    items = read_source(path).items
    assert [item.columns for item in items] == [
        (("2019", "1"), ("2020", "2")), (("2019", "3"), ("2020", "4")),
    ]  # fmt: skip


def test_the_same_rows_in_another_shape_are_another_copy(tmp_path: Path) -> None:
    path = pixels_csv(tmp_path / "p.csv", random_images(2, 4, 4), ["a", "b"])
    assert shown_pixels(read_source(path)).shape == (2, 4, 4)
    assert shown_pixels(read_source(path, pixels="2x8")).shape == (2, 2, 8)


def test_pixels_without_labels_are_for_prediction(tmp_path: Path) -> None:
    path = pixels_csv(tmp_path / "test.csv", random_images(3, 4, 4), None)
    assert len(read_images(path).items) == 3
    with pytest.raises(DataError, match="no column 'label'"):
        read_source(path)


def test_other_columns_of_pixel_rows_are_kept(tmp_path: Path) -> None:
    path = table(tmp_path, "split,label,pixel0,pixel1\nval,a,1,2\ntrain,a,3.0,4\ntrain,b,5,6\n")
    items: Sequence[Item] = read_source(path, pixels="1x2").items
    assert [(item.label, item.given_split) for item in items] == [
        ("a", "validation"), ("a", "train"), ("b", "train"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,2,3,4\nb,1,2,3\n", "line 3: 4 cells, but there are 5 columns"),
        ("a,1,2,3,256\n", "line 2: pixel 3 is '256'"),
        ("a,1,2,-3,4\n", "line 2: pixel 2 is '-3'"),
        ("a,1,0.5,3,4\n", "line 2: pixel 1 is '0.5'"),
        ("a,1,2,x,4\n", "line 2: pixel 2 is 'x'"),
        ("a,1,2,,4\n", "line 2: pixel 2 is ''"),
        ("a,1,2,nan,4\n", "line 2: pixel 2 is 'nan'"),
        (",1,2,3,4\nb,1,2,3,4\n", r"the label is empty \(line 2\)"),
        ("", "contains no images"),
    ],
)
def test_bad_rows_of_pixels(tmp_path: Path, rows: str, message: str) -> None:
    path = table(tmp_path, "label,pixel0,pixel1,pixel2,pixel3\n" + rows)
    with pytest.raises(DataError, match=message):
        read_source(path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("header", "pixels", "message"),
    [
        ("label,pixel0,pixel1", None, "2 pixel columns, which do not form a square"),
        ("label,pixel0,pixel1", "3x3", "2 pixel columns, but images of 3x3x1 have 9"),
        (
            "pixel0,pixel1,pixel2,pixel3,kind",
            None,
            "no column 'label'; its other columns are 'kind'",
        ),
    ],
)
def test_bad_columns_of_pixels(
    tmp_path: Path, header: str, pixels: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_source(table(tmp_path, header + "\n"), pixels=pixels)


@pytest.mark.parametrize("text", ["28", "0x3", "axb", "2x2x2", "2x2x3x4"])
def test_an_invalid_shape(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is not an image shape"):
        read_source(tmp_path, pixels=text)


_ODD_CELLS = (
    "id",
    "image",
    "class",
    "pixels",
    "1 2 3 4",
    "sep=;",
    "nan",
    "1.0",
    "cat\\\\1.jpg",
    "x|y",
)

# fuzz -----------------------------------------------------------------------------------------


@settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.lists(
                st.sampled_from(
                    ["path", "label", "pixel0", "1x1", "cat/1.jpg", "7", "", "a", '"', *_ODD_CELLS]
                ),
                max_size=4,
            ).map(",".join),
            max_size=5,
        ).map(lambda rows: "\n".join(rows).encode()),
        st.lists(
            st.dictionaries(
                st.sampled_from(["path", "label", "group", "split", "fold", "x"]),
                st.sampled_from(["cat/1.jpg", "a"]) | st.text(st.characters(), max_size=3),
            ),
            max_size=4,
        ).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
        st.recursive(st.none() | st.text(max_size=4), lambda x: st.lists(x)).map(
            lambda value: repr(value).encode(errors="ignore")
        ),
    ),
    name=st.sampled_from(["fuzz.csv", "fuzz.tsv", "fuzz.jsonl"]),
)
def test_any_text_gives_images_or_one_sentence(folder: Path, text: bytes, name: str) -> None:
    (folder / name).write_bytes(text)
    for reader in (read_source, read_images):
        try:
            listing = reader(folder / name, cache=folder / "cache")
            make_split_groups(listing.items, range(len(listing.items)), seed=0)
        except TltoolError as error:
            assert "\n" not in error.message
            error.message.encode()
