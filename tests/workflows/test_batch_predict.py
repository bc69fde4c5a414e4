"""Thousands of images: written to a file row by row, continued, sorted into class folders."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tltool as public
from tests.conftest import unless_thorough
from tests.engine.local_engine import LocalEngine
from tests.workflows.conftest import contents
from tltool.cli.main import app
from tltool.engine import cluster_address
from tltool.errors import Interrupted
from tltool.events import SilentObserver
from tltool.workflows import batch_predict as story
from tltool.workflows.batch_predict import batch_predict
from tltool.workflows.prediction.class_folders import (
    ClassFolders,
    ImageSorter,
    folder_name,
    folder_names,
)
from tltool.workflows.prediction.model import load_model
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.prediction import Prediction
from tltool.workflows.workers import TABLE


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images, one with a name that a CSV must quote, and one bad file."""
    folder = tmp_path_factory.mktemp("mixed") / "photos"
    folder.mkdir()
    for number, photo in enumerate(sorted((trained.photos / "plum").iterdir())[:5]):
        shutil.copy(photo, folder / f"{number}.png")
    (folder / "4.png").rename(folder / 'a "b",\nc.png')
    (folder / "words.jpg").write_text("these are words")
    return folder


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_predictions_are_written_to_a_file(trained, mixed, tmp_path, kind):
    file = tmp_path / f"predictions.{kind}"
    result = tltool("predict", trained.run, mixed, "--top", 2, "--output", file)
    assert result.exit_code == 3  # because of the bad file
    assert "wrote 6 predictions" in result.stderr and not result.stdout
    printed = json.loads(tltool("predict", trained.run, mixed, "--top", 2, "--json").stdout)
    if kind == "jsonl":
        assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == printed
        return
    for row, expected in zip(rows_of(file), printed, strict=True):
        assert row["path"] == expected["path"]
        assert row["error"] == (expected["error"] or "")
        assert row["class_1"] == (expected["class"] or "")
        assert row["is_known"] == {True: "true", False: "false", None: ""}[expected.get("is_known")]
    assert list(row) == [
        *("path", "error", "class_1", "probability_1", "class_2", "probability_2"),
        *("is_known", "ood_score", "predicted_by"),
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", unless_thorough([1, 40, 200], 40))
def test_append_continues_an_interrupted_file(trained, mixed, tmp_path, kind, cut):
    complete, cut_off = tmp_path / f"complete.{kind}", tmp_path / f"cut_off.{kind}"
    tltool("predict", trained.run, mixed, "--output", complete)
    cut_off.write_bytes(complete.read_bytes()[:-cut])
    result = tltool("predict", trained.run, mixed, "--output", cut_off, "--append")
    assert cut_off.read_bytes() == complete.read_bytes()
    assert "; it had " in result.stderr
    again = tltool("predict", trained.run, mixed, "--output", cut_off, "--append")
    assert again.exit_code == 0 and "nothing left to do: wrote 0 predictions" in again.stderr
    assert cut_off.read_bytes() == complete.read_bytes()


def test_predictions_by_workers_are_those_of_one_process(trained, mixed, tmp_path, monkeypatch):
    """In any order; the workers are in this process."""

    class Backwards(LocalEngine):
        def map(self, work, numbers):
            return super().map(work, reversed([*numbers]))

    engine = nullcontext(Backwards(TABLE))
    images = [mixed, trained.photos, *[tmp_path / f"gone-{n}.jpg" for n in range(70)]]
    common = ("predict", trained.run, *images, "--prediction-set", 0.6, "--top", 2)
    one = tltool(*common, "--output", tmp_path / "one.csv")
    monkeypatch.setattr(story, "open_workers", lambda *_, **__: engine)
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    several = tltool(*common, "--output", tmp_path / "several.csv", "--cluster", "auto")
    assert one.exit_code == several.exit_code == 3
    assert (tmp_path / "several.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert len(rows_of(tmp_path / "one.csv")) == 118


@pytest.mark.parametrize("changed", [False, True])
def test_workers_use_the_version_of_the_start_of_the_command(
    trained, mixed, tmp_path, monkeypatch, changed
):
    """A version that is exported meanwhile is not used, and one that changes is an error."""
    model = tmp_path / "fruit"
    shutil.copytree(trained.export, model / "1")

    class Later(LocalEngine):
        def map(self, work, numbers):
            (model / "2").mkdir()
            (model / "2" / "saved_model.pb").write_bytes(b"another model")
            if changed:
                (model / "1" / "assets" / "class_names.json").write_text("[]")
            return super().map(work, numbers)

    monkeypatch.setattr(story, "open_workers", lambda *_, **__: nullcontext(Later(TABLE)))
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    image = next(mixed.glob("[0-9].png"))
    result = tltool("predict", model, image, "--output", tmp_path / "new.csv", "--workers", 2)
    assert result.exit_code == (4 if changed else 0), result.stderr
    assert not changed or f"{model / '1'}' has changed since" in " ".join(result.stderr.split())


def test_a_folder_without_images_says_what_it_contains(trained, tmp_path):
    for name in ("1.CR2", "2.cr2", "notes.txt"):
        (tmp_path / name).write_text("x")
    result = tltool("predict", trained.run, tmp_path)
    assert result.exit_code == 3
    assert "contains no images, but other files: 2 .cr2, 1 .txt" in result.stderr
    assert "camera raw" in result.stderr


def test_an_existing_file_is_not_overwritten(trained, mixed, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("my,own\n1,2\n")
    result = tltool("predict", trained.run, mixed, "--output", mine)
    assert result.exit_code == 2 and "--append" in result.stderr
    other = tltool("predict", trained.run, mixed, "--output", mine, "--append")
    assert other.exit_code == 3 and "was not written by tltool predict" in other.stderr
    assert mine.read_text() == "my,own\n1,2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "predictions.txt"], ".csv or .jsonl"),
        (["--output", "no/such/folder/predictions.csv"], "does not exist"),
        (["--append"], "--output"),
        (["--output", "-", "--json"], "stdout"),
        (["--how", "link"], "--sort-into"),
        (["--unsure-below", "0.7"], "--sort-into"),
        (["--prediction-set", "0.5", "--tta", "flips"], "--tta"),
        (["--per-class"], "--prediction-set"),
    ],
)
def test_contradicting_options_are_an_error_before_tensorflow(trained, mixed, arguments, message):
    result = tltool("predict", trained.run, mixed, *arguments)
    assert result.exit_code == 2 and message in result.stderr
    assert "start" not in result.stderr  # before seconds of loading TensorFlow


def test_ctrl_c_says_how_to_continue(trained, mixed, tmp_path):
    file, predictions = tmp_path / "predictions.csv", []

    def consume(prediction: Prediction) -> None:
        predictions.append(prediction)
        if len(predictions) == 4:
            raise KeyboardInterrupt

    options = PredictOptions(trained.run, [str(mixed)], output=file)
    with pytest.raises(Interrupted, match="has 3 of 6 predictions") as interrupted:
        batch_predict(options, make_consumer=lambda columns: consume, observer=SilentObserver())
    assert "--append" in (interrupted.value.hint or "")
    assert len(rows_of(file)) == 3


NOTES = {
    "line.csv": b"milk and eggs",
    "quote.csv": b'lens 5",zoom\nrow2,x\nrow3,y\n',
    "notes.jsonl": b"my notes",
    "own.jsonl": b'{"name": "a", "path": "b"}\n{"name": "c", "pa',
}


@pytest.mark.parametrize("name", NOTES)
def test_a_file_of_another_program_is_not_changed(trained, mixed, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(NOTES[name])
    result = tltool("predict", trained.run, mixed, "--output", file, "--append")
    assert result.exit_code == 3
    assert "was not written by tltool predict" in result.stderr
    assert file.read_bytes() == NOTES[name]


def test_rows_with_other_columns_are_not_appended(trained, mixed, tmp_path):
    file = tmp_path / "predictions.csv"
    tltool("predict", trained.run, mixed / "0.png", "--output", file)
    before = file.read_bytes()
    result = tltool("predict", trained.run, mixed, "--top", 2, "--output", file, "--append")
    assert result.exit_code == 2 and "has the columns" in result.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", unless_thorough(["csv", "jsonl"], "csv"))
@pytest.mark.parametrize("change", ["model", "top", "tta"])
def test_rows_of_another_model_or_option_are_not_appended(trained, mixed, tmp_path, kind, change):
    file = tmp_path / f"predictions.{kind}"
    tltool("predict", trained.run, mixed / "0.png", "--output", file)
    before = file.read_bytes()
    other = {"top": ["--top", 2], "tta": ["--tta", "flips"]}.get(change, [])
    model = trained.export if change == "model" else trained.run
    result = tltool("predict", model, mixed, "--output", file, "--append", *other)
    assert result.exit_code == 2
    assert ("has the columns" if (kind, change) == ("csv", "top") else "this command is") in (
        result.stderr
    )
    assert file.read_bytes() == before


def test_relative_and_absolute_paths_are_the_same_image(trained, mixed, tmp_path, monkeypatch):
    monkeypatch.chdir(mixed.parent)
    file = tmp_path / "predictions.csv"
    tltool("predict", trained.run, mixed.name, "--output", file)
    before = file.read_bytes()
    again = tltool("predict", trained.run, mixed, "--output", file, "--append")
    assert "wrote 0 predictions" in again.stderr and "it had 6 before" in again.stderr
    assert "earlier rows with an error: 1" in again.stderr
    assert file.read_bytes() == before


def test_an_image_listed_twice_is_predicted_once(trained, mixed, tmp_path):
    file = tmp_path / "predictions.csv"
    tltool("predict", trained.run, mixed / "0.png", mixed, mixed / "0.png", "--output", file)
    names = [row["path"] for row in rows_of(file)]
    assert len(names) == len(set(names)) == 6 and names[0] == str(mixed / "0.png")
    assert len(public.predict(trained.run, [mixed / "0.png"] * 2)) == 2


def test_files_that_are_no_images_are_counted(trained, mixed, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("0.png", "notes.txt", "noext", ".hidden.png"):
        shutil.copy(mixed / "0.png", photos / name)
    stderr = tltool("predict", trained.run, photos).stderr
    assert "1 hidden files and folders skipped" in stderr
    assert "1 without extension, 1 .txt" in stderr


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_names_with_line_breaks_are_matched_by_append(trained, mixed, tmp_path, kind):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, odd in enumerate(("a\u2028b", "a\x85b", "a\rb", "a\r\nb")):
        shutil.copy(mixed / f"{number}.png", photos / f"{odd}.png")
    file = tmp_path / f"predictions.{kind}"
    tltool("predict", trained.run, photos, "--output", file)
    before = file.read_bytes()
    again = tltool("predict", trained.run, photos, "--output", file, "--append")
    assert again.exit_code == 0 and "wrote 0 predictions" in again.stderr
    assert file.read_bytes() == before
    if kind == "csv":
        names = {Path(row["path"]).name for row in rows_of(file)}
        assert names == {path.name for path in photos.iterdir()}
        assert b"path,error," in before and b"predicted_by\n" in before  # \r only in a name


def test_images_are_copied_into_class_folders(trained, mixed, tmp_path):
    before = contents(mixed)
    target = tmp_path / "sorted"
    arguments = ["predict", trained.run, mixed, "--sort-into", target, "--json"]
    rows = [row for row in json.loads(tltool(*arguments).stdout) if row["ok"]]
    for row in rows:
        (copy,) = target.glob(f"*/{Path(row['path']).name}")
        folder = row["class"] if row["confidence"] >= 0.7 else "_unsure"
        assert copy.parent.name == (folder if row["is_known"] else "_unknown")
        assert copy.read_bytes() == Path(row["path"]).read_bytes()
    assert contents(mixed) == before
    sorted_once = contents(target)
    assert len(sorted_once) == 5
    assert "were already there" in tltool(*arguments).stderr
    assert contents(target) == sorted_once  # a second run adds nothing


def test_images_predicted_before_are_reported_as_not_sorted(trained, mixed, tmp_path):
    file, target = tmp_path / "predictions.csv", tmp_path / "sorted"
    tltool("predict", trained.run, mixed / "0.png", "--output", file)
    result = tltool(
        *("predict", trained.run, mixed, "--output", file, "--append", "--sort-into", target)
    )
    assert "sorted 4 images" in result.stderr
    assert "predicted before, and therefore not sorted: 1" in result.stderr
    assert not list(target.rglob("0.png"))


def test_unsure_images_have_a_folder_and_other_files_are_not_overwritten(trained, mixed, tmp_path):
    target = tmp_path / "sorted"
    (target / "_unsure").mkdir(parents=True)
    (target / "_unsure" / "0.png").write_text("of the user")
    model = ["predict", trained.run, mixed, "--sort-into", target, "--how", "link"]
    result = tltool(*model, "--unsure-below", 1)
    assert (target / "_unsure" / "0.png").read_text() == "of the user"
    links = [path for path in target.rglob("*") if path.is_symlink()]
    assert len(links) == 5 and {link.resolve().parent for link in links} == {mixed.resolve()}
    assert "sorted 5 images" in result.stderr


def test_images_are_not_sorted_into_their_own_folder(trained, mixed, tmp_path):
    result = tltool("predict", trained.run, mixed, "--sort-into", mixed / "sorted")
    assert result.exit_code == 2 and "is inside" in result.stderr
    file = tmp_path / "file"
    file.touch()
    result = tltool("predict", trained.run, mixed, "--sort-into", file)
    assert result.exit_code == 2 and "is a file" in result.stderr


@pytest.mark.parametrize(
    ("name", "folder"),
    [("plum", "plum"), ("../../etc", "_.._etc"), ("..", "_"), ("a\0b:c", "a_b_c"), (" ", "_")],
)
def test_a_class_name_never_points_outside_the_folder(name, folder):
    assert folder_name(name) == folder


def test_no_two_classes_share_a_folder():
    by_class = folder_names(["a/b", "a_b", "a:b", "_unsure", "_unknown", "Bee", "bee", "x" * 300])
    assert by_class["a_b"] == "a_b" and by_class["Bee"] == "Bee"
    folders = {folder.casefold() for folder in by_class.values()}
    assert len(folders) == len(by_class) and not folders & {"_unsure", "_unknown"}
    assert max(len(folder) for folder in folders) < 256


def prediction_for(file: Path) -> Prediction:
    return Prediction(file, None, (("bee", 0.9),), file=file)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_names_of_the_maximum_length_are_sorted(tmp_path, how):
    names = ["n" * 251 + ".png", "é" * 125 + "a.png", "n." + "e" * 253]
    sorter = ImageSorter(ClassFolders(tmp_path / "sorted", how, 0.5), ["bee"])
    for folder in ("one", "two"):  # other images of the same names
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(f"{folder} {name}")
            sorter.place(prediction_for(tmp_path / folder / name))
    copies = [path.read_text() for path in (tmp_path / "sorted" / "bee").iterdir()]
    assert sorted(copies) == sorted(
        f"{folder} {name}" for folder in ("one", "two") for name in names
    )
    assert sorter.already_present == 0


def test_sorting_many_images_of_one_name_takes_linear_time(tmp_path, monkeypatch):
    """As in a folder per day that contains image.jpg."""
    calls = 0
    lexists = os.path.lexists

    def counting(path: Any) -> bool:
        nonlocal calls
        calls += 1
        return lexists(path)

    n, file = 200, tmp_path / "image.jpg"
    class_folders = ClassFolders(tmp_path / "sorted", "copy", 0.5)
    for already_present in (0, n):
        monkeypatch.setattr("tltool.workflows.prediction.class_folders.os.path.lexists", counting)
        calls, sorter = 0, ImageSorter(class_folders, ["bee"])
        for number in range(n):
            file.write_text(str(number))
            sorter.place(prediction_for(file))
        monkeypatch.undo()
        assert sorter.already_present == already_present
        assert len(list((tmp_path / "sorted" / "bee").iterdir())) == n
        assert calls <= 3 * n + 3


@pytest.mark.slow
@pytest.mark.parametrize("model", unless_thorough(["run", "export"], "run"))
def test_tta_averages_the_probabilities_of_the_views(trained, mixed, model):
    loaded = load_model(getattr(trained, model))
    mirror = Image.open(mixed / "1.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    mirror.save(buffer, "PNG")
    images = [(mixed / "1.png").read_bytes(), b"junk", buffer.getvalue()]
    none, flips, crops = (loaded.predict(images, tta=tta) for tta in ("none", "flips", "crops"))
    mean = (none.probabilities[0] + none.probabilities[2]) / 2
    np.testing.assert_allclose(flips.probabilities[[0, 2]], [mean, mean], atol=0.01)
    assert np.abs(crops.probabilities - none.probabilities)[0].max() > 1e-4
    for averaged in (flips, crops):
        np.testing.assert_allclose(averaged.probabilities.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(averaged.probabilities[1], 1 / 3)
        np.testing.assert_array_equal(averaged.without_tta, none.probabilities)
        np.testing.assert_array_equal(averaged.ood_scores, none.ood_scores)
    with_flips = public.predict(getattr(trained, model), [mixed / "1.png"], top=3, tta="flips")
    assert with_flips[0].top[0][1] == pytest.approx(flips.probabilities[0].max(), abs=1e-5)


def test_names_that_are_not_utf8_are_json_and_matched_by_append(trained, mixed, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    try:
        shutil.copy(mixed / "1.png", odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    file = tmp_path / "predictions.jsonl"
    command = ("predict", trained.run, folder, "--output", file)
    assert tltool(*command).exit_code == 0
    (row,) = map(json.loads, file.read_text("utf-8").splitlines())
    assert row["path"] == str(folder) + r"/caf\udce9.png"
    assert tltool(*command, "--append").exit_code == 0
    assert len(file.read_text("utf-8").splitlines()) == 1  # it has a row already


@pytest.mark.thorough
def test_evaluate_says_what_averaging_gives(trained, tmp_path):
    plain = json.loads(tltool("evaluate", trained.run, trained.photos, "--json").stdout)
    page = tmp_path / "page.html"
    flips = tltool(*("evaluate", trained.run, trained.photos, "--tta", "flips", "--report", page))
    assert "Predictions use test-time augmentation (flips)" in page.read_text("utf-8")
    assert "The temperature was fitted without test-time augmentation" in page.read_text("utf-8")
    assert "before temperature scaling and test-time augmentation" in flips.stdout
    alone = tltool("evaluate", trained.run, trained.photos)
    assert "test-time augmentation" not in alone.stdout
    document = json.loads(
        tltool("evaluate", trained.run, trained.photos, "--tta", "flips", "--json").stdout
    )
    gain = document["tta"]["accuracy_gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert document["accuracy"]["value"] - plain["accuracy"]["value"] == pytest.approx(
        gain["value"]
    )
    saved = plain["log_loss"] - document["log_loss"]
    assert document["tta"]["log_loss_gain"]["value"] == pytest.approx(saved, abs=1e-4)
    assert "test-time augmentation (flips): " in flips.stdout and "tta" not in plain
