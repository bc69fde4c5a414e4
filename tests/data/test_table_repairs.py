"""Tables as people have them: other paths, what spreadsheets leave, quotes, names of columns."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.test_tables import Listener
from tltool.data.catalog import Item
from tltool.data.sources.open import is_source, read_images, read_source
from tltool.data.sources.tables.path_spelling import cleaned
from tltool.errors import DataError

FILES = ("photos/ant/1.jpg", "photos/ant/2.jpg", "photos/bee/3.jpg", "photos/bee/4.JPG")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(tmp_path, *FILES)
    return tmp_path


def label_of(name: str) -> str:
    return "ant" if name.endswith(("1.jpg", "2.jpg", "1", "2")) else "bee"


def table(folder: Path, paths: Sequence[str], header: str = "path,label") -> Path:
    labels = [label_of(name) for name in FILES]
    rows = [f"{path},{label}" for path, label in zip(paths, labels, strict=True)]
    (folder / "data.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder / "data.csv"


def read(path: Path) -> tuple[list[Item], list[str]]:
    listener = Listener()
    return list(read_source(path, observer=listener).items), listener.messages


def text_table(folder: Path, text: str, name: str = "data.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        (lambda p: p.replace("/", "\\"), "backslashes"),
        (lambda p: ".\\" + p.replace("/", "\\"), "backslashes"),
        (lambda p: p + " ", "blanks at the ends"),
        (lambda p: p + "\u00a0", "blanks at the ends"),
        (lambda p: f"'{p}'", "quotes"),
        (lambda p: f"“{p}”", "quotes"),
        (lambda p: p.replace("photos", "phot%6Fs"), "percent signs"),
        (lambda p: p.upper(), "upper and lower case"),
        (lambda p: p.lower().replace(".jpg", ".jpeg"), "upper and lower case"),
        (lambda p: p.partition(".")[0], "extension added"),
        (lambda p: p.removeprefix("photos/"), "found in a folder below"),
        (lambda p: p.rpartition("/")[2], "found in a folder below"),
        (lambda p: Path(p).stem, "extension added, found in a folder below"),
        (lambda p: f"/content/drive/data/{p}", "without '/content/drive/data/'"),
        (lambda p: "C:\\Users\\me\\" + p.replace("/", "\\"), "without 'C:/Users/me/'"),
        (lambda p: f"old/{p.partition('.')[0]}", "without 'old/', extension added"),
        (lambda p: p.lower().replace(".jpg", ".png"), "another extension"),
        (lambda p: f"old/{Path(p).with_suffix('.png')}", "without 'old/', another extension"),
        (lambda p: f"{Path(p).stem}.webp", "found in a folder below, another extension"),
    ],
)
def test_one_repair_finds_the_files_of_all_rows(folder: Path, change: Any, summary: str) -> None:
    items, messages = read(table(folder, [change(name) for name in FILES]))
    assert [item.path for item in items] == [folder / name for name in FILES]
    repairs = [message for message in messages if "do not exist as written" in message]
    assert len(repairs) == 1
    assert summary in repairs[0]
    assert "4 paths" in repairs[0]


@pytest.mark.parametrize(
    ("written", "summary"),
    [
        ("{}", "leading zeros added, extension added, found in a folder below"),
        ("{}.jpg", "leading zeros added, found in a folder below"),
        ("img/{}.jpg", "leading zeros added"),
        ("/old/img/{}", "without '/old/', leading zeros added, extension added"),
    ],
)
def test_leading_zeros_that_a_spreadsheet_removed_are_added(
    tmp_path: Path, written: str, summary: str
) -> None:
    touch(tmp_path, "img/0001.jpg", "img/0002.jpg", "img/0010.jpg", "img/0100.jpg")
    paths = [written.format(n) for n in (1, 2, 10, 100)]
    items, messages = read(table(tmp_path, paths))
    assert [item.path.stem for item in items] == ["0001", "0002", "0010", "0100"]
    assert [summary in m for m in messages if "do not exist as written" in m] == [True]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["01.jpg", "001.jpg", "02.jpg"], "'1' does not exist and can be '001.jpg' or '01.jpg'"),
        (["img01.jpg", "02.jpg"], "files are missing"),
        (["10.jpg", "02.jpg"], "files are missing"),
    ],
)
def test_leading_zeros_are_not_guessed(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        read_source(text_table(tmp_path, "path,label\n1,ant\n2,bee\n"))


def test_file_urls_and_the_home_folder_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    for start in (f"file://{folder}/", "~/"):
        items, messages = read(table(folder, [start + name for name in FILES]))
        assert [item.path for item in items] == [folder / name for name in FILES]
        assert any("~ or file://" in message for message in messages)


def test_another_unicode_form_is_the_same_file(tmp_path: Path) -> None:
    names = ["Bär.jpg", "Wölf.jpg"]
    touch(tmp_path, *(unicodedata.normalize("NFD", name) for name in names))
    path = text_table(tmp_path, f"path,label\n{names[0]},bear\n{names[1]},wolf\n")
    assert [item.path.read_bytes() for item in read(path)[0]] == [b"x", b"x"]


def test_rows_that_exist_are_not_changed(folder: Path) -> None:
    touch(folder, "other/1.jpg")
    items, messages = read(table(folder, ["other/1.jpg", *(f"{n} " for n in FILES[1:])]))
    assert items[0].path == folder / "other/1.jpg"
    assert any("3 paths" in message for message in messages)


@pytest.mark.parametrize("path", ["ant/9.jpg", "old/photos/ant/1.jpg", "9.jpg"])
def test_a_single_missing_file_is_not_searched_in_other_folders(folder: Path, path: str) -> None:
    touch(folder, "backup/ant/9.jpg")
    with pytest.raises(DataError, match=rf"files are missing \({path} in line 2\)"):
        read_source(table(folder, [path, *FILES[1:]]))


def test_names_may_be_in_several_folders_if_each_is_unique(folder: Path) -> None:
    touch(folder, "part_1/a1.jpg", "part_2/b2.jpg")
    path = text_table(folder, "image_id,label\na1,ant\nb2,bee\n")
    assert [item.path.parent.name for item in read(path)[0]] == ["part_1", "part_2"]


def test_one_folder_that_has_all_files_is_preferred_to_one_that_has_some(folder: Path) -> None:
    touch(folder, "images/a.jpg", "images/b.jpg", "old/a.jpg")
    path = text_table(folder, "path,label\na.jpg,ant\nb.jpg,bee\n")
    assert {item.path.parent.name for item in read(path)[0]} == {"images"}


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (("x/1.jpg", "x/2.jpg", "y/1.jpg", "y/2.jpg"), "1.jpg"),
        (("1.jpg", "2.jpg", "1.png", "2.png"), "1"),
        (("x/1.jpg", "y/1.jpg", "z/2.jpg"), "1"),
    ],
)
def test_an_ambiguous_repair_is_refused(tmp_path: Path, files: tuple[str, ...], first: str) -> None:
    touch(tmp_path, *files)
    second = first.replace("1", "2")
    path = text_table(tmp_path, f"path,label\n{first},ant\n{second},bee\n")
    with pytest.raises(
        DataError, match=r"'1\S*' does not exist and can be '\S+' or '\S+'"
    ) as raised:
        read_source(path)
    assert raised.value.hint == "write the folder and the extension into the paths"


def test_a_mask_beside_an_image_is_no_second_extension(tmp_path: Path) -> None:
    touch(tmp_path, "1.jpg", "1.png", "2.jpg")
    path = text_table(tmp_path, "path,label\n1,ant\n2,bee\n")
    assert [item.path.suffix for item in read(path)[0]] == [".jpg", ".jpg"]


def test_files_that_no_repair_finds_are_named(folder: Path) -> None:
    paths = [name.replace("/", "\\") for name in FILES]
    paths[2] = "photos\\bee\\9.jpg"
    with pytest.raises(DataError, match=r"files are missing \(photos\\bee\\9.jpg in line 4\)"):
        read_source(table(folder, paths))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("https://example.org/1.jpg", r"addresses \(URLs\).*https://example.org/1.jpg in line 2"),
        ("ftp://host/1.jpg?key=secret", r"ftp://host/1.jpg\?… in line 2"),
        ("ftp://host/1.jpg", r"addresses \(URLs\)"),
        ("~/none.jpg", "with ~ for your home folder"),
        ("none.jpg ", r"missing \('none.jpg ' in line 2\)"),
    ],
)
def test_what_a_path_is_that_cannot_be_found(folder: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(text_table(folder, f"path,label\n{path},ant\n{FILES[2]},bee\n"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("https://example.org/data.zip", "address"),
        ("ftp://host/d", "address"),
        ("~x/d", "there is no"),
    ],
)
def test_a_source_that_is_no_local_path(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_source(source)


@given(st.text(max_size=30))
def test_cleaning_twice_changes_nothing_more_in_plain_paths(text: str) -> None:
    plain = cleaned(text)
    if "%" not in plain:
        assert cleaned(plain).strip("\"'`“”‘’„«» /") == plain.strip("\"'`“”‘’„«» /")


# what spreadsheets leave ----------------------------------------------------------------------

A, B = FILES[0], FILES[2]


@pytest.mark.parametrize(
    "text",
    [
        f"path,label,,\n{A},ant,,\n{B},bee,,\n,,,\n",
        f"path,label\n{A},ant,,\n{B},bee,\n\n , \n",
        f"sep=;\npath;label\n{A};ant\n{B};bee\n",
        f'"sep=|"\npath|label\n{A}|ant\n{B}|bee\n',
        f"path|label\n{A}|ant\n{B}|bee\n",
        f",path,label\n0,{A},ant\n1,{B},bee\n",
        f"Unnamed: 0,path,label\n0,{A},ant\n1,{B},bee\n",
        f",,path,label\n,,{A},ant\n,,{B},bee\n",
        f"path,label,Unnamed: 2\n{A},ant,\n{B},bee,\n",
        f"{A},ant\n{B},bee\n",
        f"ant;{A}\nbee;{B}\n",
        f"file_name,class\n{A},ant\n{B},bee\n",
        f"File Path,Class Name\n{A},ant\n{B},bee\n",
        f"id,Image File,class-name\n7,{A},ant\n8,{B},bee\n",
        f"id,Image,category\n7,{A},ant\n8,{B},bee\n",
        f"path,label\n{A},ant\npath,label\n{B},bee\n",
        f"image_id;breed\n{A};ant\n{B};bee\n",
        f"path,label,notes\n{A},ant,\"two\nlines, and more\"\n{B},bee,\n",
    ],
)  # fmt: skip
def test_the_same_rows_in_every_form(folder: Path, text: str) -> None:
    items, messages = read(text_table(folder, text))
    assert [(item.path, item.label) for item in items] == [(folder / A, "ant"), (folder / B, "bee")]
    assert not any("''" in message for message in messages)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"path,label,\n{A},ant,\n{B},bee,x\n", "line 3: 'x' is in a column without a name"),
        (f"path,label,\na,{A},ant\n", "line 2: 'ant' is in a column without a name"),
        (f"{A},ant,train\n{B},bee,train\n", "the first line is an image"),
        ("5,0,0,1,0\n3,0,1,1,0\n", "the first line has numbers"),
        ("5,0,0.1,0.2,0.3\n3,0,1,1,0\n", "the first line has numbers"),
        ("file,image,label\nx,y,z\n", "no column 'path'; its columns are 'file', 'image', 'label'"),
        ("path,caption\nx,y\n", "no column 'label'; its columns are 'path', 'caption'"),
        (
            "Image,Kind,Notes\nx,y,z\n",
            "no column 'label'; its columns are 'Image', 'Kind', 'Notes'",
        ),
    ],
)
def test_what_is_not_certain_is_an_error(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(text_table(folder, text))


def test_a_table_of_numbers_gets_the_line_that_it_lacks(tmp_path: Path) -> None:
    rows = "".join(f"{n % 2},{','.join(['7'] * 64)}\n" for n in range(4))
    with pytest.raises(DataError) as raised:
        read_source(text_table(tmp_path, rows))
    assert raised.value.hint is not None
    assert "label,pixel0,pixel1,…,pixel63" in raised.value.hint
    header = "label," + ",".join(f"pixel{n}" for n in range(64))
    assert len(read_source(text_table(tmp_path, f"{header}\n{rows}")).items) == 4


@pytest.mark.parametrize(
    "text",
    [
        f'path,label,notes\n{A},ant,"leaf\n{FILES[1]},ant,x\n{B},bee,spot"\n',
        f'path,label,notes\n{A},ant,"leaf\n{FILES[1]},ant,x\n{B},bee,x\n',
        f'path,label,notes\n{A},"ant,x\n{FILES[1]},ant,x\n{B},bee",x\n',
        f'path,label,notes\n{A},ant,"big, leaf\n{FILES[1]},ant,x\n{B},bee,spot"\n',
    ],
)
def test_a_quote_that_swallows_rows_is_an_error(folder: Path, text: str) -> None:
    with pytest.raises(DataError, match="lines 2 to 4 are one row, because of a quote"):
        read_source(text_table(folder, text))


def test_file_names_with_line_breaks_are_kept(folder: Path) -> None:
    touch(folder, "ant/a\nb,c.jpg")
    path = text_table(folder, f'path,label,split\n"ant/a\nb,c.jpg",ant,\n{B},bee,\n')
    assert read(path)[0][0].path == folder / "ant/a\nb,c.jpg"


def test_other_names_of_columns_are_reported(folder: Path) -> None:
    _, messages = read(text_table(folder, f"filename,target\n{A},ant\n{B},bee\n"))
    assert any("'filename' of" in m and "read as the path" in m for m in messages)
    assert any("'target' of" in m and "read as the label" in m for m in messages)
    rows = [{"file_name": A, "class": "ant", "box": [1]}, {"file_name": B, "class": "bee"}]
    items, messages = read(text_table(folder, "\n".join(map(json.dumps, rows)), "data.jsonl"))
    assert [item.label for item in items] == ["ant", "bee"]
    assert any("'class' of" in m for m in messages)


def test_a_list_of_images_without_a_header_is_for_prediction(folder: Path) -> None:
    path = text_table(folder, f"{A}\n{B}\n")
    assert is_source(path)
    assert [item.path for item in read_images(path).items] == [folder / A, folder / B]


@settings(
    max_examples=200, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(FILES), st.data())
def test_a_repaired_table_never_has_other_files(
    folder: Path, order: Sequence[str], data: st.DataObject
) -> None:
    """Each path is spelled at random; the right files are found, or none are."""
    spellings = [
        lambda p: p,
        lambda p: p.replace("/", "\\"),
        lambda p: f" {p} ",
        lambda p: p.rpartition("/")[2],
        lambda p: p.rpartition(".")[0],
        lambda p: f"x/{p}",
        str.upper,
    ]
    written = [data.draw(st.sampled_from(spellings))(name) for name in order]
    rows = "\n".join(f"{path},{label_of(name)}" for path, name in zip(written, order, strict=True))
    try:
        items = read_source(text_table(folder, f"path,label\n{rows}\n")).items
    except DataError as error:
        assert "missing" in error.message or "can be" in error.message
    else:
        assert [item.path for item in items] == [folder / name for name in order]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("data.xlsx", "save the table as CSV"),
        ("data.json", "CSV, TSV or JSONL"),
        ("images.npz", "tltool.finetune((images, labels)) in Python"),
        ("t10k-images-idx3-ubyte.gz", "tfds:mnist"),
        ("data_batch_1", "tfds:cifar10"),
        ("data.tfrecord", "as files, into a folder per class"),
        ("data.7z", "extract it"),
        ("data.zip.001", "join the parts"),
        ("data.csv.gz", "decompress the table"),
        ("data.pdf", "supported sources"),
    ],
)
def test_a_file_of_another_type_as_the_source(tmp_path: Path, name: str, hint: str) -> None:
    touch(tmp_path, name)
    with pytest.raises(DataError, match="is a file, not a folder of images") as raised:
        read_source(tmp_path / name)
    assert raised.value.hint is not None
    assert hint in raised.value.hint


def test_the_hint_for_arrays_with_known_names_is_python(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((3, 8, 8)), "y_train": np.arange(3), "x_test": 0, "y_test": 0}
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(DataError, match=r"mnist\.npz is a file") as raised:
        read_source(tmp_path / "mnist.npz")
    assert raised.value.hint == (
        f"in Python: a = numpy.load('{tmp_path}/mnist.npz');"
        " tltool.finetune({'train': (a['x_train'], a['y_train']),"
        " 'test': (a['x_test'], a['y_test'])})"
    )
