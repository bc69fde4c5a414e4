"""Labels of tables: missing values, whole numbers with .0, lists, blanks at the ends, folds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.test_table_repairs import read, text_table, touch
from tests.data.test_tables import Listener
from tltool.data.catalog import Catalog, Item
from tltool.data.checks.class_imbalance import class_findings, measure_balance
from tltool.data.sources.class_names import report_class_names, similar_names
from tltool.data.sources.listing import class_name
from tltool.data.sources.open import read_images, read_source
from tltool.data.splits.split import Split, write_split
from tltool.errors import DataError


def labels_table(folder: Path, labels: list[str], extra: str = "", name: str = "data.csv") -> Path:
    files = [f"{number}.jpg" for number in range(len(labels))]
    touch(folder, *files)
    rows = [f"{file},{label}{extra}" for file, label in zip(files, labels, strict=True)]
    return text_table(folder, "\n".join(["path,label", *rows]) + "\n", name)


def labels_of(path: Path) -> list[str]:
    return [item.label for item in read_source(path).items]


@pytest.mark.parametrize(
    "word", ["nan", "NaN", "NULL", "null", "None", "N/A", "<NA>", "#N/A", "NA"]
)
def test_a_label_that_says_there_is_none_is_missing(tmp_path: Path, word: str) -> None:
    path = labels_table(tmp_path, ["ant", word, "bee"])
    with pytest.raises(DataError, match=rf"the label is missing \(line 3: '{word}'\)"):
        read_source(path)
    assert [item.label for item in read_images(path).items] == ["ant", "", "bee"]


def test_missing_values_in_json(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg", "1.jpg")
    rows = [{"path": "0.jpg", "label": float("nan")}, {"path": "1.jpg", "label": None}]
    path = text_table(tmp_path, "\n".join(map(json.dumps, rows)), "data.jsonl")
    with pytest.raises(
        DataError, match=r"missing \(line 1: 'nan'\); the label is empty \(line 2\)"
    ):
        read_source(path)


@pytest.mark.parametrize("word", ["none", "nano", "Nan", "no"])
def test_a_class_with_a_similar_name_is_a_class(tmp_path: Path, word: str) -> None:
    assert labels_of(labels_table(tmp_path, ["ant", word])) == ["ant", word]


def test_a_class_folder_may_have_the_name_of_a_missing_value(tmp_path: Path) -> None:
    touch(tmp_path, "NA/1.jpg", "EU/1.jpg")
    path = text_table(tmp_path, "path,label\nNA/1.jpg,NA\nEU/1.jpg,EU\n")
    assert labels_of(path) == ["NA", "EU"]


def test_missing_groups_are_no_group(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg", "1.jpg")
    path = text_table(
        tmp_path, "path,label,group,split,fold\n0.jpg,a,nan,nan,NaN\n1.jpg,b,g,train,1.0\n"
    )
    items, _ = read(path)
    assert [(i.group, i.given_split, i.fold) for i in items] == [
        (None, None, None), ("g", "train", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (["0.0", "1.0", "0.0"], ["0", "1", "0"]),
        (["0", "1.0", "1"], ["0", "1", "1"]),
        (["0", "1.", "-1.00"], ["0", "1", "-1"]),
        (["1", "1.0", "bee"], ["1", "1", "bee"]),
        (["1.0", "1.5", "2.0"], ["1.0", "1.5", "2.0"]),
        (["v1.0", "v2.0"], ["v1.0", "v2.0"]),
        (["007", "7.0"], ["007", "7"]),
        (["1.0", "bee"], ["1.0", "bee"]),
    ],
)
def test_whole_numbers_with_a_point(tmp_path: Path, written: list[str], labels: list[str]) -> None:
    items, messages = read(labels_table(tmp_path, written))
    assert [item.label for item in items] == labels
    assert any("are read as" in message for message in messages) == (written != labels)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (["'ant'", "'hot bee'"], ["ant", "hot bee"]),
        (['"""ant"""', "' bee '"], ["ant", "bee"]),
        (["['ant']", "['bee']"], ["ant", "bee"]),
        (["[ant]", '"[""bee\'s""]"'], ["ant", "bee's"]),
        (["'0.0'", "'1.0'"], ["0", "1"]),
        (["“ant”", "„bee“"], ["ant", "bee"]),
        (["b'ant'", "b'bee'"], ["ant", "bee"]),
        (["np.int64(0)", "np.int64(1)"], ["0", "1"]),
        (["tensor(0)", "tensor(1)"], ["0", "1"]),
        (["'ant'", "bee"], ["'ant'", "bee"]),
        (["'ant", "bee'"], ["'ant", "bee'"]),
        (["['ant']", "bee"], ["['ant']", "bee"]),
    ],
)
def test_quotes_and_brackets_around_all_labels_are_removed(
    tmp_path: Path, written: list[str], labels: list[str]
) -> None:
    assert labels_of(labels_table(tmp_path, written)) == labels


@pytest.mark.parametrize("odd", ["\"['ant', 'bee']\"", "['ant' 'bee']", "[]", '"[ant, cow]"'])
def test_a_list_of_several_classes_or_none_is_refused(tmp_path: Path, odd: str) -> None:
    with pytest.raises(DataError, match=r"name several classes for one image|name no class"):
        read_source(labels_table(tmp_path, ["['ant']", odd, "['bee']"]))


def test_class_folders_named_by_versions_stay_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "1.0/a.jpg", "2.0/b.jpg")
    path = text_table(tmp_path, "path,label\n1.0/a.jpg,1.0\n2.0/b.jpg,2.0\n")
    assert labels_of(path) == ["1.0", "2.0"]


def test_a_test_table_written_by_pandas_has_the_same_classes(tmp_path: Path) -> None:
    train = labels_table(tmp_path, ["0", "1"], name="train.csv")
    test = labels_table(tmp_path, ["0.0", "1.0"], name="test.csv")
    assert [item.label for item in read_source(train, test=test).items] == ["0", "1", "0", "1"]


def test_labels_of_pixels_are_cleaned_too(tmp_path: Path) -> None:
    header = "label,pixel0,pixel1,pixel2,pixel3\n"
    path = text_table(tmp_path, f"{header}0.0,1,2,3,4\n1.0,5,6,7,8\n")
    assert labels_of(path) == ["0", "1"]
    with pytest.raises(DataError, match=r"the label is missing \(line 3: 'nan'\)"):
        read_source(text_table(tmp_path, f"{header}0,1,2,3,4\nnan,5,6,7,8\n"))


@pytest.mark.parametrize(
    "labels",
    [
        ["edema", "mass", "edema|mass", "mass|nodule"],
        ["cat;dog", "cat", "dog;bird"],
        ['"cat, dog"', "cat", '"dog, bird"'],
        ["0.9|0.1", "0.2|0.8"],
        ["0.7 0.2 0.1", "0.1 0.1 0.8"],
    ],
)
def test_lists_of_classes_are_another_task(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(DataError, match="name several classes for one image") as raised:
        read_source(labels_table(tmp_path, labels))
    assert raised.value.hint is not None
    assert "one label per image" in raised.value.hint


@pytest.mark.parametrize(
    "labels",
    [
        ["a|b", "c"],
        ['"tench, Tinca tinca"', '"great white shark, white shark"', '"goldfish, Carassius"'],
        ["red|big", "blue|small"],
    ],
)
def test_separators_in_class_names_are_allowed(tmp_path: Path, labels: list[str]) -> None:
    assert labels_of(labels_table(tmp_path, labels)) == [label.strip('"') for label in labels]


@pytest.mark.parametrize("signs", [("0", "1"), ("0.0", "1.0"), ("False", "True"), ("FALSE", "1")])
def test_a_column_for_each_class_is_a_label(tmp_path: Path, signs: tuple[str, str]) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    no, yes = signs
    rows = f"a,{no},{yes},{no}\nb,{yes},{no},{no}\nc,0,1,0\n"
    items, messages = read(text_table(tmp_path, f"image,MEL,NV,UNK\n{rows}"))
    assert [(item.path.name, item.label) for item in items] == [
        ("a.jpg", "NV"), ("b.jpg", "MEL"), ("c.jpg", "NV"),
    ]  # fmt: skip
    assert any("'MEL', 'NV', 'UNK'" in message for message in messages)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,1\nb.jpg,1,1\n", "line 3: the image has the classes 'cat', 'dog'"),
        ("0,1\nb.jpg,0,0\n", "line 3: the image has no class"),
        ("1,1\nb.jpg,0,1\n", "line 2: the image has the classes 'cat', 'dog'"),
        ("0.9,0.1\nb.jpg,0.2,0.8\n", "line 2: the columns 'cat', 'dog' have values"),
        ("1,0\nb.jpg,0.2,0.8\n", "line 3: the image has values between 0 and 1"),
        ("True,True\nb.jpg,True,False\n", "line 2: the image has the classes 'cat', 'dog'"),
        ("0.9,0.2\nb.jpg,0,1\n", r"line 2: .*soft labels"),
        ("0.9,1.2\nb.jpg,0,1\n", "no column 'label'"),
        ("7,1\nb.jpg,0,1\n", "no column 'label'; its columns are 'path', 'cat', 'dog'"),
    ],
)
def test_columns_that_are_not_one_class_per_image(tmp_path: Path, rows: str, message: str) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=message):
        read_source(text_table(tmp_path, f"path,cat,dog\na.jpg,{rows}"))


def test_tables_of_boxes_are_for_another_task(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    header = "filename,class,xmin,ymin,xmax,ymax\n"
    once = f"{header}a.jpg,ant,1,2,3,4\nb.jpg,bee,1,2,3,4\n"
    assert any("has boxes" in message for message in read(text_table(tmp_path, once))[1])
    with pytest.raises(DataError, match=r"several boxes for one image.*object detection"):
        read_source(text_table(tmp_path, once + "a.jpg,bee,5,6,7,8\n"))


def test_a_list_in_json_is_another_task(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg")
    with pytest.raises(DataError, match="line 1: the label is a list"):
        read_source(text_table(tmp_path, '{"path": "0.jpg", "label": ["a", "b"]}', "data.jsonl"))


@pytest.mark.parametrize(
    "name", [" tomato", "tomato ", "tomato\u00a0", "tomato\u200b", "\ufefftomato"]
)
def test_a_class_has_no_blanks_at_its_ends(name: str) -> None:
    assert class_name(name, described_as="the class") == "tomato"
    with pytest.raises(DataError, match="has only blanks"):
        class_name(" \u200b", described_as="the class")


@pytest.mark.parametrize("name", ["tomato ", " tomato", "tomato"])
def test_a_folder_and_the_split_written_from_it_have_the_same_classes(
    tmp_path: Path, name: str
) -> None:
    touch(tmp_path, f"plants/{name}/1.jpg", "plants/potato/1.jpg")
    listing = read_source(tmp_path / "plants")
    catalog = Catalog(listing.root, listing.items, ("potato", "tomato"))
    path = tmp_path / "plants" / "split.csv"
    write_split(path, catalog, Split(("train", "train"), ("", "")), digests=False)
    again = read_source(path).items
    assert [(i.path, i.label) for i in again] == [(i.path, i.label) for i in listing.items]
    assert sorted(item.label for item in again) == ["potato", "tomato"]


def test_a_fold_may_be_a_float(tmp_path: Path) -> None:
    touch(tmp_path, "0.jpg", "1.jpg")
    path = text_table(tmp_path, "path,label,fold\n0.jpg,a,0.0\n1.jpg,b,1.0\n")
    assert [item.fold for item in read(path)[0]] == [0, 1]
    with pytest.raises(DataError, match="fold must be a whole number"):
        read_source(text_table(tmp_path, "path,label,fold\n0.jpg,a,0.5\n1.jpg,b,1\n"))


def test_names_that_differ_only_in_their_spelling() -> None:
    names = ["Cat", "cat", "hot dog", "hot_dog", "bee", "1", "1.0", "-", "_", "Ａ", "a"]
    assert similar_names(names) == [
        ["Cat", "cat"], ["hot dog", "hot_dog"], ["1", "1.0"], ["a", "Ａ"],
    ]  # fmt: skip


def test_doubtful_class_names_are_reported() -> None:
    listener = Listener()
    report_class_names(["Cat", "cat", "nan", "none", "bee"], listener)
    assert len(listener.messages) == 2
    assert "'Cat' and 'cat' differ only in their spelling" in listener.messages[0]
    assert "'nan' has the name of a missing value" in listener.messages[1]
    for names in (["a", "\u0430"], ["1", "01"], ["TRUE", "True"], ["cat", "?"], ["0", "1", "-1"]):
        listener = Listener()
        report_class_names(names, listener)
        assert len(listener.messages) == 1, names
    many = Listener()
    report_class_names([name for n in range(9) for name in (f"C{n}", f"c{n}")], many)
    assert len(many.messages) == 6
    assert many.messages[-1] == "and 4 more such classes"


@pytest.mark.parametrize(
    ("names", "warned"),
    [(["0.1", "0.5", "2"], True), (["1", "2"], False), (["1.0", "2.0"], False),
     (["0.1", "bee"], False), (["v0.1", "v0.2"], False), (["nan", "0.5"], False)],
)  # fmt: skip
def test_numbers_with_decimals_look_like_regression(names: list[str], warned: bool) -> None:
    listener = Listener()
    report_class_names(names, listener)
    assert any("regression" in message for message in listener.messages) == warned
    items = [Item(Path(f"{n}.jpg"), label) for n, label in enumerate(names * 30)]
    kinds = [finding.kind for finding in class_findings(measure_balance(items, []), [])]
    assert ("numbers as classes" in kinds) == warned


def test_a_check_of_the_data_finds_a_class_named_like_a_missing_value() -> None:
    items = [Item(Path(f"{n}.jpg"), label) for n, label in enumerate(["nan", "none", "bee"] * 30)]
    findings = list(class_findings(measure_balance(items, []), []))
    assert [(f.kind, f.severity) for f in findings] == [("missing label", "serious")]
    assert "'nan'" in findings[0].detail
