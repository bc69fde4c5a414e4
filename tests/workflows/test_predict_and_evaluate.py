"""Predictions and evaluation of a finished run and its export, through the command line."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE
from tests.data.samples import encode, noise
from tests.data.special_files import SPECIAL
from tests.data.test_file_types import LFS
from tests.data.test_file_warnings import BROKEN
from tests.workflows.conftest import write_fruit
from tltool.cli.main import app
from tltool.cli.terminal.results import show_metrics

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images, a text file and an empty file."""
    folder = tmp_path_factory.mktemp("mixed")
    for number, photo in enumerate(sorted((trained.photos / "plum").iterdir())[:4]):
        shutil.copy(photo, folder / f"{number}.png")
    (folder / "words.jpg").write_text("these are words")
    (folder / "nothing.png").touch()
    return folder


@dataclass(frozen=True)
class Evaluated:
    """An evaluation on all images of the trained run: its JSON document, stderr and report."""

    document: dict[str, Any]
    stderr: str
    report: Path

    @property
    def page(self) -> str:
        return self.report.read_text("utf-8")


def evaluated(model: Path, photos: Path, report: Path) -> Evaluated:
    result = tltool("evaluate", model, photos, "--report", report, "--json")
    assert result.exit_code == 0, result.stderr
    return Evaluated(json.loads(result.stdout), result.stderr, report)


@pytest.fixture(scope="module")
def of_run(trained, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    page = tmp_path_factory.mktemp("of_run") / "page.html"
    return evaluated(trained.run, trained.photos, page)


@pytest.fixture(scope="module")
def of_export(trained, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    page = tmp_path_factory.mktemp("of_export") / "page.html"
    return evaluated(trained.export, trained.photos, page)


@pytest.fixture(scope="module")
def of_validation(trained) -> Any:
    """The result of the command for the validation images of the run."""
    return tltool("evaluate", trained.run, trained.photos, "--split", "validation", "--json")


def test_run_and_export_give_the_same_predictions(trained, mixed):
    predictions = [
        json.loads(tltool("predict", model, mixed, "--top", 3, "--json").stdout)
        for model in (trained.run, trained.export, trained.export.parent)
    ]
    for run, *exports in zip(*predictions, strict=True):
        for export in exports:
            assert (run["path"], run["ok"]) == (export["path"], export["ok"])
            ours = {row["class"]: row["probability"] for row in run["top"]}
            theirs = {row["class"]: row["probability"] for row in export["top"]}
            assert ours == pytest.approx(theirs, abs=0.03)  # the run may compute in bfloat16
    assert predictions[1] == predictions[2]


def test_predict_names_what_is_wrong_with_a_file(trained, tmp_path):
    (tmp_path / "hole.jpg").write_bytes(BROKEN["a hole"](encode(noise(), "JPEG")))
    (tmp_path / "pointer.jpg").write_bytes(LFS)
    result = tltool("predict", trained.run, tmp_path, "--json")
    pointer = next(row for row in json.loads(result.stdout) if not row["ok"])
    assert pointer["error"] == (
        "not an image, but a Git LFS pointer; fetch the image with: git lfs pull"
    )
    assert "broken inside: 1 image, such as" in result.stderr
    assert "hole.jpg (Corrupt JPEG data: " in result.stderr


def test_a_bad_file_is_one_row_and_exit_code_3(trained, mixed):
    result = tltool("predict", trained.run, mixed, "--json")
    rows = {Path(row["path"]).name: row for row in json.loads(result.stdout)}
    assert result.exit_code == 3
    assert len(rows) == 6
    for name in ("words.jpg", "nothing.png"):
        assert not rows[name]["ok"]
        assert rows[name]["error"]
    for number in range(4):
        assert rows[f"{number}.png"]["class"] in ("green apple", "kaki 柿", "plum")
    assert "2 of 6 images could not be classified" in result.stderr


def test_a_file_that_does_not_exist_is_a_row_too(trained, mixed):
    result = tltool("predict", trained.run, mixed / "0.png", mixed / "gone.png", "--json")
    assert result.exit_code == 3
    assert [row["ok"] for row in json.loads(result.stdout)] == [True, False]


@pytest.mark.parametrize("kind", ["pipe", "link to /dev/zero"])
def test_what_is_no_regular_file_is_a_row_and_not_waited_for(trained, mixed, tmp_path, kind):
    special = tmp_path / "special.png"
    SPECIAL[kind](special)
    result = tltool("predict", trained.run, special, mixed / "0.png", "--json")
    assert result.exit_code == 3
    assert [row["ok"] for row in json.loads(result.stdout)] == [False, True]
    assert "not a regular file (a pipe, a socket" in result.stdout


def test_a_bad_file_alone_is_a_row_too(trained, mixed):
    result = tltool("predict", trained.export, mixed / "words.jpg", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)[0]["ok"] is False


def test_predictions_as_a_table_and_as_csv(trained, mixed, tmp_path):
    table = tltool("predict", trained.run, mixed / "0.png", "--top", 2)
    assert table.exit_code == 0
    assert "0.png" in table.stdout
    assert "next" in table.stdout
    tltool("predict", trained.run, mixed / "0.png", "--top", 2, "--output", tmp_path / "a.csv")
    printed = tltool("predict", trained.run, mixed / "0.png", "--top", 2, "--output", "-").stdout
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text("utf-8"))))
    assert list(csv.DictReader(io.StringIO(printed))) == rows
    assert list(rows[0]) == [
        "path",
        "error",
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
        "is_known",
        "ood_score",
        "predicted_by",
    ]


def test_evaluating_the_validation_set_reproduces_the_metrics_of_the_run(trained, of_validation):
    again = json.loads(of_validation.stdout)
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    for key in ("n", "accuracy", "log_loss", "confusion_matrix"):
        assert again[key] == metrics[key], key


def test_uncalibrated_metrics_are_without_test_time_augmentation(trained):
    command = ("evaluate", trained.run, trained.photos, "--split", "validation", "--json")
    again = json.loads(tltool(*command, "--tta", "flips").stdout)
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    assert again["log_loss"] != metrics["log_loss"]
    for key in ("log_loss_uncalibrated", "ece_uncalibrated"):
        assert again[key] == pytest.approx(metrics[key], abs=1e-6)


def test_data_leakage_from_the_training_set_is_reported(trained, of_run):
    document = of_run.document
    validation = json.loads((trained.run / "metrics.json").read_text("utf-8"))["n"]
    train = document["n"] - validation
    assert document["train_overlap"] == {"train": train, "validation": validation}
    leakage = (
        f"Data leakage: {42 - validation} of these images are in the training set and {validation} "
        "of these images are in the validation set"
    )
    assert leakage in " ".join(of_run.stderr.split())
    assert of_run.page.count(leakage) == 2  # next steps, and the model card


@pytest.mark.slow
def test_leakage_is_reported_next_to_the_accuracy_in_metrics_and_report(finetune_tiny, tmp_path):
    """Two test images are copies of training images, one smaller; one is a validation image."""
    parts = {
        part: write_fruit(tmp_path / "p" / part, n=6, seed=n)
        for n, part in enumerate(("train", "val", "test"))
    }
    shutil.copy(parts["train"] / "plum" / "0_00.png", parts["test"] / "plum" / "again.png")
    patches = np.random.default_rng(9).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    for part, side in (("train", 96), ("test", 60)):
        image = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
        image.save(parts[part] / "plum" / "patches.png")
    shutil.copy(parts["val"] / "plum" / "1_00.png", parts["test"] / "plum" / "copy.png")
    run = finetune_tiny(tmp_path / "p", *ONLY_PROBE, "evaluate.report=true").run
    assert json.loads((run / "metrics.json").read_text("utf-8"))["train_overlap"] == {
        "train": 2,
        "validation": 1,
    }
    leakage = (
        "Data leakage: 2 of these images are in the training set (as copies) and 1 of these images "
        "are in the validation set (as copies). The metrics are optimistic"
    )
    assert leakage in (run / "report.html").read_text("utf-8")
    lines = " ".join(tltool("runs", "show", run).stdout.split())
    assert lines.index("accuracy") < lines.index(leakage) < lines.index("log-loss")
    assert "(linear probe)" in lines and "best epoch" not in lines
    again = tltool("evaluate", run, tmp_path / "p", "--split", "test", "--json")
    # by content alone: near-duplicates need the training images, and a run keeps digests only
    assert json.loads(again.stdout)["train_overlap"] == {"train": 1, "validation": 1}


def test_new_and_held_out_images_are_evaluated_without_a_warning(
    trained, of_validation, tmp_path, monkeypatch
):
    write_fruit(tmp_path / "validation", n=2, seed=5)
    page = tmp_path / "page.html"
    monkeypatch.chdir(tmp_path)
    result = tltool("evaluate", trained.run, "validation", "--report", page, "--json")
    document = json.loads(result.stdout)
    assert document["train_overlap"] == {"train": 0, "validation": 0}
    assert document["split"] is None  # although the folder is called validation
    assert "eakage" not in page.read_text("utf-8") + result.stderr
    assert json.loads(of_validation.stdout)["train_overlap"]["train"] == 0
    assert "eakage" not in of_validation.stderr


def test_an_export_does_not_know_its_training_images(of_export):
    assert of_export.document["train_overlap"] is None
    assert "unknown whether the model was trained on some of these" in of_export.page


def test_a_copy_of_the_data_is_matched_by_content(trained, tmp_path):
    moved = shutil.copytree(trained.photos, tmp_path / "elsewhere")
    for number, path in enumerate(sorted(moved.rglob("*.png"))):
        path.rename(path.with_name(f"renamed-{number}.png"))
    result = tltool("evaluate", trained.run, moved, "--split", "validation", "--json")
    metrics = json.loads((trained.run / "metrics.json").read_text("utf-8"))
    assert json.loads(result.stdout)["accuracy"] == metrics["accuracy"]


def test_classes_are_matched_by_name_and_not_by_position(trained, tmp_path):
    (tmp_path / "some").mkdir()
    shutil.copytree(trained.photos / "plum", tmp_path / "some" / "plum")
    document = json.loads(tltool("evaluate", trained.export, tmp_path / "some", "--json").stdout)
    support = {row["name"]: row["support"] for row in document["per_class"]}
    assert support == {"green apple": 0, "kaki 柿": 0, "plum": 14}


def test_a_class_that_the_model_does_not_know(trained, tmp_path):
    shutil.copytree(trained.photos / "plum", tmp_path / "some" / "pear")
    result = tltool("evaluate", trained.run, tmp_path / "some")
    assert result.exit_code == 3
    assert "pear" in result.stderr
    assert "green apple, kaki 柿, plum" in result.stderr


def test_unknown_classes_are_named_with_those_without_images(trained, tmp_path):
    shutil.copytree(trained.photos / "plum", tmp_path / "some" / "pear")
    result = tltool("evaluate", trained.run, tmp_path / "some")
    assert "there are no images of green apple, kaki 柿, plum" in result.stderr


def test_images_of_a_single_class_are_evaluated_with_a_warning(trained, tmp_path):
    shutil.copytree(trained.photos / "plum", tmp_path / "some" / "plum")
    result = tltool("evaluate", trained.run, tmp_path / "some", "--json")
    assert result.exit_code == 0
    assert "all images are of one class, plum" in result.stderr
    document = json.loads(result.stdout)
    assert document["absent_classes"] == ["green apple", "kaki 柿"]
    assert document["roc_auc"] is None and document["accuracy"]["value"] is not None


def test_an_image_with_two_labels_is_reported(trained, tmp_path):
    photos = shutil.copytree(trained.photos, tmp_path / "photos")
    for name in ("0_00.png", "0_01.png"):
        shutil.copy(photos / "plum" / name, photos / "kaki 柿" / f"again {name}")
    result = tltool("evaluate", trained.run, photos)
    assert result.exit_code == 0
    assert "4 images are in more than one class" in result.stderr
    assert "again 0_00.png" in result.stderr


def test_a_run_without_a_test_set(trained):
    result = tltool("evaluate", trained.run, trained.photos, "--split", "test")
    assert result.exit_code == 2
    assert "has no test set" in result.stderr and "data.test_fraction" in result.stderr


def test_evaluate_prints_baselines_calibration_and_conditions(trained):
    conditions = ("--assert", "accuracy>=0.01", "--assert", "recall[plum]<=1")
    result = tltool("evaluate", trained.export, trained.photos, *conditions)
    assert result.exit_code == 0, result.stderr
    assert re.search(
        r"Baselines: 0\.333 \[0\.\d+, 0\.\d+\].* by always predicting green apple", result.stdout
    )
    assert "calibration error" in result.stdout and "ROC-AUC" in result.stdout
    assert result.stdout.count("met      ") == 2


def test_images_of_a_group_are_not_counted_as_independent(trained, of_export, tmp_path, capsys):
    table = tmp_path / "photos.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "group"])
        for folder in sorted(trained.photos.iterdir()):
            for number, photo in enumerate(sorted(folder.iterdir())):
                writer.writerow([photo, folder.name, f"{folder.name} {number // 7}"])
    single = of_export.document
    grouped = json.loads(tltool("evaluate", trained.export, table, "--json").stdout)
    assert grouped["groups"]["n"] == 6 < grouped["groups"]["effective_n"] + 5
    assert grouped["accuracy"]["value"] == single["accuracy"]["value"]
    widths = [one["accuracy"]["high"] - one["accuracy"]["low"] for one in (single, grouped)]
    assert widths[1] > 1.1 * widths[0]
    show_metrics(grouped)
    text = " ".join(capsys.readouterr().out.split())
    assert "on 42 images of 6 groups, effective n " in text


def test_run_and_export_agree_on_what_calibration_changed(of_run, of_export):
    for key in ("log_loss", "log_loss_uncalibrated", "ece", "ece_uncalibrated", "brier"):
        values = [one.document[key] for one in (of_run, of_export)]
        assert values[0] == pytest.approx(values[1], abs=0.05), key


def test_a_condition_that_is_not_met_is_exit_code_4_with_all_metrics(trained):
    conditions = ("--assert", "log_loss<=0", "--assert", "accuracy>0")
    result = tltool("evaluate", trained.run, trained.photos, *conditions, "--json")
    assert result.exit_code == 4
    assert "log_loss<=0 is not met" in result.stderr
    document = json.loads(result.stdout)
    assert [row["passed"] for row in document["asserts"]] == [False, True]
    strict = tltool(
        "evaluate", trained.run, trained.photos, "--assert", "accuracy>=0.9", "--strict"
    )
    assert strict.exit_code == 4
    assert "not met with --strict" in strict.stderr


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("recal[plum]>=0.5", "Did you mean 'recall'?"),
        ("recall[plump]>=0.5", "Did you mean 'plum'?"),
    ],
)
def test_a_condition_on_an_unknown_metric_or_class(trained, condition, message):
    result = tltool("evaluate", trained.run, trained.photos, "--assert", condition)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "predict" not in result.stderr


def test_evaluate_writes_a_report_of_a_run_and_of_an_export(of_run, of_export):
    for one, maps in ((of_run, True), (of_export, False)):
        assert f"wrote {one.report}" in one.stderr
        page, rate = one.page, one.document["accuracy"]["value"]
        assert f"Top-1 accuracy {100 * rate:.1f} % on 42 images" in page
        assert ('alt="Grad-CAM for' in page) == maps
        assert ("Backbone tiny_vgg, weights from random." in page) == maps  # known for a run
        assert "Recipe and reproduction" not in page
        assert not re.findall("[a-z_]+[.](?:csv|json)", page)  # files that exist only in a run


def test_a_report_never_replaces_a_file(trained, tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_text("of the user")
    result = tltool("evaluate", trained.run, trained.photos, "--report", photo)
    assert result.exit_code == 2 and "exists" in result.stderr
    assert photo.read_text() == "of the user"
    assert "audit" not in result.stderr


def test_what_is_too_large_for_the_run_is_too_large_for_its_evaluation(trained, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text("utf-8")
    (run / "recipe.yaml").write_text(re.sub(r"max_pixels: \d+", "max_pixels: 1599", recipe))
    result = tltool("evaluate", run, trained.photos)  # images of 40 x 40
    assert result.exit_code == 3 and "too many pixels" in result.stderr


def test_a_report_that_cannot_be_written_is_reported_first(trained, tmp_path):
    result = tltool("evaluate", trained.run, trained.photos, "--report", tmp_path / "page.txt")
    assert result.exit_code == 2 and ".html" in result.stderr
    result = tltool("evaluate", trained.run, trained.photos, "--report", tmp_path / "no" / "a.html")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr and "start" not in result.stderr
    assert "audit" not in result.stderr


def test_strict_without_a_condition(trained):
    result = tltool("evaluate", trained.run, trained.photos, "--strict")
    assert result.exit_code == 2
    assert "--assert" in result.stderr


def test_missing_images_of_the_validation_set(trained, tmp_path):
    (tmp_path / "some").mkdir()
    shutil.copytree(trained.photos / "plum", tmp_path / "some" / "plum")
    result = tltool("evaluate", trained.run, tmp_path / "some", "--split", "validation")
    assert result.exit_code == 3
    assert "validation set" in result.stderr


def test_an_export_has_no_split(trained):
    result = tltool("evaluate", trained.export, trained.photos, "--split", "validation")
    assert result.exit_code == 2
    assert "--split" in result.stderr


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_model_that_does_not_exist(trained, tmp_path, verb):
    result = tltool(verb, tmp_path / "none", trained.photos)
    assert result.exit_code == 2
    assert "none" in result.stderr


@pytest.mark.parametrize("verb", ["predict", "evaluate", "explain"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://example.org//a.jpg", "https://example.org//a.jpg is an address (URL)"),
        ("ftp://host/photos.zip", "ftp://host/photos.zip is an address (URL)"),
        ("photos/*.jpg", "'photos/*.jpg' is a pattern that the shell did not expand"),
    ],
)
def test_images_that_are_an_address_or_a_pattern_are_refused_first(trained, verb, name, message):
    result = tltool(verb, trained.run, name)
    assert result.exit_code == 3
    assert message in " ".join(result.stderr.split())
    assert "TensorFlow" not in result.stderr


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_folder_that_is_no_model(trained, tmp_path, verb):
    result = tltool(verb, tmp_path, trained.photos)
    assert result.exit_code == 3
    assert "neither a finished run nor an exported model" in result.stderr


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fruit-onnx", "1/model.onnx"),
        ("fruit-litert-int8/2", "model.tflite"),
        ("fruit-keras", "1/model.keras"),
        ("fruit-openvino", "1/model.xml"),
    ],
)
def test_an_export_for_other_programs_is_named(trained, tmp_path, verb, name, file):
    (tmp_path / name / file).parent.mkdir(parents=True)
    (tmp_path / name / file).touch()
    alone = tltool(verb, tmp_path / name, trained.photos)
    assert alone.exit_code == 3
    assert f"contains {Path(file).name}; predictions need a run or a SavedModel" in alone.stderr
    assert "tltool export RUN" in alone.stderr
    (tmp_path / "fruit").symlink_to(trained.export.parent)
    beside = tltool(verb, tmp_path / name, trained.photos)
    assert f"give the SavedModel: {tmp_path / 'fruit'}" in beside.stderr
    if Path(name).name == "fruit-onnx":  # which works
        assert tltool(verb, tmp_path / "fruit", trained.photos).exit_code == 0


def test_a_damaged_model_file(trained, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "run")
    (run / "model.keras").write_bytes((run / "model.keras").read_bytes()[:2000])
    result = tltool("predict", run, trained.photos / "plum")
    assert result.exit_code == 4
    assert "model.keras has changed since the training" in result.stderr
    trusted = tltool("predict", run, trained.photos / "plum", "--trust")
    assert trusted.exit_code == 3
    assert "model.keras' cannot be read" in trusted.stderr


@pytest.mark.parametrize("verb", ["predict", "evaluate", "explain"])
def test_a_run_with_changed_class_names_is_refused(trained, tmp_path, verb):
    run = shutil.copytree(trained.run, tmp_path / "run")
    text = (run / "artifact.json").read_text("utf-8")
    names = json.loads(text)["class_names"]
    swapped = json.dumps({**json.loads(text), "class_names": names[::-1]})
    (run / "artifact.json").write_text(swapped, "utf-8")
    more = ["--out", tmp_path / "maps"] if verb == "explain" else []
    result = tltool(verb, run, trained.photos, *more)
    assert result.exit_code == 4
    assert "artifact.json has changed since the training" in result.stderr


def test_a_run_of_a_later_format(trained, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "run")
    (run / "seal.json").unlink()
    document = json.loads((run / "artifact.json").read_text("utf-8"))
    (run / "artifact.json").write_text(json.dumps({**document, "format_version": 99}))
    result = tltool("predict", run, trained.photos / "plum")
    assert result.exit_code == 3
    assert "format version 99" in result.stderr


def test_a_folder_without_images_to_predict(trained, tmp_path):
    result = tltool("predict", trained.run, tmp_path)
    assert result.exit_code == 3
    assert "no images" in result.stderr
