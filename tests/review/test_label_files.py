"""Images for Label Studio and FiftyOne, and their labels as decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.conftest import write_photos
from tests.review.conftest import CLASSES, review_of
from tltool.data.corrections.corrections_file import read_corrections
from tltool.errors import DataError, UsageError
from tltool.review.queues import ReviewData
from tltool.workflows.exchange_labels import ImportedLabels, export_labels, import_labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReviewData:
    return review_of(write_photos(tmp_path_factory.mktemp("label files") / "photos"))


def annotation(*names: str, who: Any = 7, **more: Any) -> dict[str, Any]:
    value = {"type": "choices", "value": {"choices": list(names)}}
    return {"completed_by": who, "result": [value] if names else [], **more}


def imported(data: ReviewData, folder: Path, document: Any) -> tuple[ImportedLabels, list[Any]]:
    (folder / "labels.json").write_text(json.dumps(document), "utf-8")
    corrections = folder / "corrections.csv"
    result = import_labels(data, folder / "labels.json", corrections=corrections, who="ann")
    rows = read_corrections(corrections)
    return result, [(row.file, row.action, row.new_label, row.who) for row in rows]


def test_tasks_come_back_from_label_studio_as_decisions_of_each_person(data, tmp_path):
    tasks_file, config = export_labels(data, tmp_path / "tasks.json", "label-studio", queue=None)
    tasks = json.loads(tasks_file.read_text("utf-8"))
    assert len(tasks) == 12 and tasks[0]["data"]["image"].startswith("/data/local-files/?d=cat/")
    assert tasks[0]["predictions"][0]["result"][0]["value"]["choices"] == ["dog"]
    names = [one.get("value") for one in ElementTree.parse(config).iter("Choice")]
    assert tuple(names) == CLASSES
    tasks[0]["annotations"] = [annotation("dog", who={"email": "bob@example.org"})]
    tasks[1]["annotations"] = [annotation("cat"), annotation("dog", was_cancelled=True)]
    tasks[2]["annotations"] = [annotation()]
    moved = {"image": f"http://host/x/{tasks[3]['data']['file']}"}  # without the digest
    answers = [*tasks[:3], {"data": moved, "annotations": [annotation(CLASSES[2], who=None)]}]
    result, rows = imported(data, tmp_path, answers)
    files = [one.file for one in data.images]
    assert rows == [
        (files[0], "relabel", "dog", "bob@example.org"),
        (files[1], "keep", "", "7"),
        (files[3], "relabel", CLASSES[2], "ann"),
    ]
    assert result.decisions == {"relabel": 2, "keep": 1} and result.known == 0
    again, rows = imported(data, tmp_path, answers)
    assert (again.decisions, again.known, len(rows)) == ({}, 3, 3)


def test_the_short_form_of_label_studio_and_unknown_images(data, tmp_path):
    one = {"sha256": data.images[0].sha256, "image": "x.jpg", "choice": "dog", "annotator": 2}
    other = {"image": "/data/upload/1/no.jpg", "choice": "dog", "annotator": 2}
    replaced = {"sha256": "0" * 64, "image": data.images[1].file, "choice": "dog"}
    result, rows = imported(data, tmp_path, [one, other, replaced])
    assert [row[1:] for row in rows] == [("relabel", "dog", "2")]
    assert result.unknown == ("/data/upload/1/no.jpg", data.images[1].file)


def test_labels_of_fiftyone_that_differ_are_decisions(data, tmp_path):
    (file,) = export_labels(data, tmp_path / "f.json", "fiftyone", queue="label-issues")
    document = json.loads(file.read_text("utf-8"))
    assert document["classes"] == list(CLASSES) and set(document["labels"].values()) == {0}
    first, second, third, *_ = document["labels"]
    document["labels"] |= {first: 1, second: {"label": "dog"}, third: None}
    result, rows = imported(data, tmp_path, document)
    assert [row[1:3] for row in rows] == [("relabel", "dog")] * 2
    assert result.decisions == {"relabel": 2}


def test_images_that_differ_only_in_their_extension_are_not_confused(data, tmp_path):
    names = ("a/1.jpg", "a/1.png", "1.jpg")
    pairs = zip(names, data.images, strict=False)
    images = tuple(replace(image, file=name) for name, image in pairs)
    several = replace(data, images=images)
    with pytest.raises(DataError, match=r"'a/1\.jpg' and 'a/1\.png' have the same name"):
        export_labels(several, tmp_path / "f.json", "fiftyone", queue=None)
    labels = {"labels": {"a/1": "dog", "b/1": "dog"}}
    result, rows = imported(several, tmp_path, labels)
    assert rows == [("1.jpg", "relabel", "dog", "ann")] and result.unknown == ("a/1",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": 1}, "neither a list of tasks"),
        ([{"data": {"image": "no.jpg"}, "annotations": [annotation("dog")]}], "no image of"),
        ("several", "several classes"),
        ("unknown", "'cow', which is no class"),
        ([{"data": [], "annotations": []}], "file of labels"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(data, tmp_path, document, message):
    if isinstance(document, str):
        names = ("cat", "dog") if document == "several" else ("cow",)
        shown = {"sha256": data.images[0].sha256}
        document = [{"data": shown, "annotations": [annotation(*names)]}]
    with pytest.raises(DataError, match=message):
        imported(data, tmp_path, document)
    assert not (tmp_path / "corrections.csv").exists()


def test_no_file_is_replaced(data, tmp_path):
    (tmp_path / "tasks.xml").write_text("mine")
    with pytest.raises(UsageError, match=r"tasks\.xml' exists"):
        export_labels(data, tmp_path / "tasks.json", "label-studio", queue=None)
    assert not (tmp_path / "tasks.json").exists()
