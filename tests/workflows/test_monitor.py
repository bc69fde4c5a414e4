"""`tltool monitor` finds drift in images and in predictions, and refuses other models."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from tests.workflows.conftest import CLASSES, Trained, write_fruit
from tltool.artifact import Calibration, load_artifact, read_calibration
from tltool.cli.main import app
from tltool.errors import DataError
from tltool.export.model_folder import model_digest
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.export_samples.reference_of_run import with_reference
from tltool.workflows.export_samples.run_images import load_run_images
from tltool.workflows.monitor import monitor

pytestmark = pytest.mark.usefixtures("models_loaded_once")


@pytest.fixture(scope="module")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New images of the classes that the model knows, 20 of each."""
    return write_fruit(tmp_path_factory.mktemp("new") / "fruit", n=20, seed=7)


def changed(fruit: Path, folder: Path, change) -> Path:
    """Write changed copies of the images."""
    folder.mkdir()
    for number, path in enumerate(sorted(fruit.rglob("*.png"))):
        with Image.open(path) as image:
            change(image).save(folder / f"{number:03d}.png")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_cli(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_run_and_its_export_have_the_same_reference(trained: Trained):
    of_run = read_calibration(trained.run / "calibration.npz").reference
    of_export = read_calibration(trained.export / "assets" / "calibration.npz").reference
    assert of_run is not None
    assert of_export is not None
    for name, array in of_run.to_arrays().items():
        np.testing.assert_array_equal(array, of_export.to_arrays()[name])
    assert len(of_run) == len(of_run.features) == len(of_run.ood_scores) > 0


def test_no_drift_is_found_in_images_like_the_old_ones(trained: Trained, fruit: Path):
    result = monitor(trained.export, [fruit])
    assert not result.drift.found, result.drift.to_json()
    assert (result.drift.n, result.failed, result.copies) == (60, 0, 0)
    assert [test.name for test in result.drift.tests] == [
        "classes", "confidence", "ood_scores", "features",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.point(lambda value: value // 2),  # darker
        lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    ],
)
def test_darker_and_blurred_images_are_found(trained, fruit, tmp_path, change):
    result = monitor(trained.export, [changed(fruit, tmp_path / "changed", change)])
    assert result.drift.found, result.drift.to_json()
    assert result.drift.size > 0.2


def test_a_class_that_became_frequent_is_named(trained: Trained, fruit: Path):
    predictions = trained.export.parent / "of_plums.csv"
    assert run_cli("predict", trained.export, fruit, "--output", predictions).exit_code == 0
    rows = rows_of(predictions)
    only = [row for row in rows if row["class_1"] == CLASSES[2]]
    with predictions.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(only * 3)
    result = monitor(trained.export, [predictions])
    assert "classes" in [test.name for test in result.drift.tests if test.found]
    assert {change.name for change in result.changes if change.found} >= {CLASSES[2]}


def test_images_and_their_predictions_give_the_same_result(trained, fruit, tmp_path):
    predictions, report = tmp_path / "predictions.csv", tmp_path / "drift.html"
    assert run_cli("predict", trained.export, fruit, "--output", predictions).exit_code == 0
    labels = tmp_path / "labels.csv"
    lines = [f"{path},{path.parent.name}" for path in sorted(fruit.rglob("*.png"))]
    labels.write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    shown = run_cli(
        "monitor", trained.export, predictions, "--labels", labels, "--report", report, "--json",
        "--assert", "accuracy>=0.01", "--assert", "drift<=0.999",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    result = monitor(trained.export, [fruit])
    tests = [one.to_json() for one in result.drift.tests if one.name != "features"]
    values = [(one["name"], round(one["value"], 4)) for one in document["drift"]["tests"]]
    assert values == [(one["name"], round(one["value"], 4)) for one in tests]
    right = [row["class_1"] == Path(row["path"]).parent.name for row in rows_of(predictions)]
    assert document["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert document["estimated_accuracy"]["assumption"]
    page = report.read_text(encoding="utf-8")
    assert "rift found" in page
    assert all(name in page for name in CLASSES)


def test_a_condition_that_is_not_met_exits_with_4(trained: Trained, fruit: Path, tmp_path: Path):
    dark = changed(fruit, tmp_path / "dark", lambda image: image.point(lambda value: value // 3))
    shown = run_cli("monitor", trained.export, dark, "--assert", "drift<=0.05")
    assert shown.exit_code == 4, shown.output
    assert shown.stderr.strip().splitlines()[-1].startswith("error: drift<=0.05 is not met")
    assert "drift found" in shown.stdout


def test_predictions_of_another_model_are_refused(trained: Trained, tmp_path: Path):
    other = tmp_path / "other.csv"
    other.write_text(
        "path,error,class_1,probability_1,predicted_by\na.png,,plum,0.9,0123456789ab\n",
        encoding="utf-8",
    )
    shown = run_cli("monitor", trained.export, other)
    assert shown.exit_code == 3
    assert "0123456789ab" in shown.stderr


@pytest.mark.parametrize("options", [("--top", "2"), ("--prediction-set", "0.9")])
def test_predictions_with_more_columns_are_compared(
    trained: Trained, fruit: Path, tmp_path: Path, options: tuple[str, ...]
):
    new = tmp_path / "new.csv"
    predicted = run_cli("predict", trained.export, fruit, "--output", new, *options)
    assert predicted.exit_code == 0, predicted.output
    shown = run_cli("monitor", trained.export, new, "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["n"] == 60


def test_an_old_export_says_how_to_get_reference_statistics(trained: Trained, tmp_path: Path):
    old = tmp_path / "run"
    shutil.copytree(trained.run, old)
    calibration = read_calibration(old / "calibration.npz")
    assert isinstance(calibration, Calibration)
    (old / "calibration.npz").write_bytes(replace(calibration, reference=None).to_bytes())
    with pytest.raises(DataError, match="no reference statistics") as error:
        monitor(old, [trained.photos])
    assert "tltool export" in str(error.value.hint)


def test_an_export_computes_the_statistics_that_an_old_run_has_not(trained: Trained):
    artifact, run = load_artifact(trained.run), RunLayout(trained.run)
    expected = artifact.calibration.reference
    old = replace(artifact, calibration=replace(artifact.calibration, reference=None))
    images = load_run_images(run, artifact.description, None, calibrate=False)
    manifest = read_manifest(run.manifest)
    computed = with_reference(old, images, manifest).calibration.reference
    assert computed is not None
    assert expected is not None
    # the run is in bfloat16, the export in float32
    np.testing.assert_allclose(
        np.sort(computed.confidence), np.sort(expected.confidence), atol=0.05
    )
    assert computed.features.shape == expected.features.shape
    refitted = replace(manifest, refit={"images": 9})
    assert with_reference(old, images, refitted) is old


def test_damaged_rows_are_named(trained: Trained, tmp_path: Path):
    rows = tmp_path / "rows.csv"
    digest = model_digest(trained.export)
    rows.write_text(
        f"path,error,class_1,probability_1,predicted_by\na.png,,plum,high,{digest}\n", "utf-8"
    )
    with pytest.raises(DataError, match="row 2 is damaged"):
        monitor(trained.export, [rows])
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"predicted_by": null, "class": "plum", "confidence": 0.9}\n', "utf-8")
    with pytest.raises(DataError, match=r"damaged [(]predicted_by is no text"):
        monitor(trained.export, [lines])
