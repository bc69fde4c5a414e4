"""Out-of-distribution images: from a folder next to the classes to predictions; prediction sets."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import betabinom
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE, merged
from tests.workflows.conftest import TINY, write_fruit
from tltool.artifact import load_artifact
from tltool.cli.main import app
from tltool.errors import DataError
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import FinetuneResult, finetune

pytestmark = pytest.mark.usefixtures("models_loaded_once")
CALIBRATED = "evaluate.calibrate=true"


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write_stripes(folder: Path, *, n: int) -> Path:
    """Write ``n`` out-of-distribution images: black and white stripes."""
    folder.mkdir(parents=True)
    for number in range(n):
        row = np.arange(40) // (number % 5 + 2) % 2 * 255
        pixels = np.broadcast_to(row[:, np.newaxis, np.newaxis], (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels if number % 2 else pixels.transpose(1, 0, 2)).save(
            folder / f"stripes{number}.png"
        )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """A run with a folder of OOD images, one of them unreadable and one a copy of a class image."""
    root = tmp_path_factory.mktemp("ood")
    photos = write_fruit(root / "photos", n=14)
    other = write_stripes(photos / "other", n=10)
    (other / "broken.png").write_bytes(b"no picture")
    shutil.copy(next((photos / "plum").iterdir()), other / "plum.png")
    settings = merged(*TINY, "train.head.epochs=1", "data.ood_images=other", CALIBRATED)
    recipe = load_recipe("vgg16", settings)
    return finetune(photos, recipe=recipe, out=root / "run", saved_models=root / "saved_models")


def test_the_folder_is_no_class_and_sets_the_ood_threshold(run):
    artifact = load_artifact(run.run)
    assert artifact.description.class_names == ("green apple", "kaki 柿", "plum")
    assert artifact.calibration.detector is not None
    selective = run.metrics["selective"]
    assert selective["ood_threshold_set_on"].endswith("and OOD images")
    assert selective["ood"]["n_ood"] == 10
    assert selective["ood"]["auroc"]["value"] > 0.9
    assert selective["coverage"]["value"] >= 0.9
    low, high = selective["coverage_range"]
    assert 0 < low < selective["target_coverage"] < high <= 1
    images = selective["ood_threshold_images"]
    assert f"OOD threshold from {images} images" in (run.run / "log.txt").read_text("utf-8")
    assert set(selective["risk_coverage"]) == {"confidence", "ood_score"}
    assert "10 out-of-distribution images are used for the OOD threshold" in (
        run.run / "log.txt"
    ).read_text("utf-8")


def test_evaluate_finds_the_ood_images_in_the_folder_of_the_run(run, tmp_path):
    photos = run.run.parent / "photos"
    shown = tltool("evaluate", run.run, photos)
    assert shown.exit_code == 0, shown.stderr
    assert "10 out-of-distribution images" in shown.stderr
    assert "OOD images detected" in shown.stdout
    part = tltool("evaluate", run.run, photos, "--split", "validation", "--json")
    again = json.loads(part.stdout)["selective"]["ood"]
    assert again["n_ood"] == run.metrics["selective"]["ood"]["n_ood"] == 10
    before = run.metrics["selective"]["ood"]["auroc"]["value"]
    assert again["auroc"]["value"] == pytest.approx(before, abs=0.03)
    without = shutil.copytree(photos, tmp_path / "without", ignore=lambda *_: ["other"])
    document = json.loads(tltool("evaluate", run.run, without, "--json").stdout)
    assert "ood" not in document["selective"] and document["n"] == 42


def test_predict_marks_ood_images_as_unknown(run, tmp_path):
    strange = write_stripes(tmp_path / "strange", n=3)
    fruit = run.run.parent / "photos" / "plum"
    rows = json.loads(tltool("predict", run.run, strange, fruit, "--json").stdout)
    known = [row["is_known"] for row in rows]
    assert not any(known[:3]) and all(row["ood_score"] > 1 for row in rows[:3])
    assert sum(known[3:]) >= 12
    for verb, *more in (("predict",), ("explain", "--out", tmp_path / "to")):
        assert "unknown (nearest: " in tltool(verb, run.run, strange, *more).stdout
    explained = tltool("explain", run.run, strange, fruit, "--out", tmp_path / "to", "--json")
    for one, other in zip(json.loads(explained.stdout), rows, strict=True):
        assert one["is_known"] == other["is_known"]
        assert one["ood_score"] == pytest.approx(other["ood_score"], rel=0.1)


@pytest.mark.slow
def test_ood_images_may_be_in_any_folder(tmp_path, fruit, finetune_tiny):
    other = write_stripes(tmp_path / "else" / "where", n=6)
    found = finetune_tiny(fruit, f"data.ood_images={other}", *ONLY_PROBE)
    assert found.metrics["selective"]["ood"]["n_ood"] == 6


@pytest.mark.slow
def test_a_run_without_ood_detection(fruit, finetune_tiny, tmp_path):
    found = finetune_tiny(fruit, "evaluate.coverage=null", *ONLY_PROBE)
    assert load_artifact(found.run).calibration.detector is None
    assert set(found.metrics["selective"]) == {"risk_coverage"}
    assert set(found.metrics["selective"]["risk_coverage"]) == {"confidence"}
    (row,) = json.loads(tltool("predict", found.run, one_of(fruit), "--json").stdout)
    assert "is_known" not in row


@pytest.mark.thorough
@pytest.mark.slow
def test_live_training_has_ood_detection_too(fruit, finetune_tiny):
    found = finetune_tiny(
        fruit, "train.cache=off", "train.head.epochs=1", "train.finetune.epochs=0"
    )
    assert found.metrics["selective"]["coverage"]["value"] > 0.8


def test_a_run_of_an_older_version_answers_as_before(run, tmp_path):
    old = shutil.copytree(run.run, tmp_path / "old")
    (old / "calibration.npz").unlink()
    (old / "seal.json").unlink()
    photo = one_of(run.run.parent / "photos")
    new_row, old_row = (
        json.loads(tltool("predict", folder, photo, "--json").stdout)[0]
        for folder in (run.run, old)
    )
    assert old_row["confidence"] == new_row["confidence"]
    assert "is_known" in new_row and "is_known" not in old_row
    refused = tltool("predict", old, photo, "--prediction-set", "0.8")
    assert refused.exit_code == 2 and "has no calibration scores" in refused.stderr


def test_a_damaged_calibration_file_is_named(run, tmp_path):
    broken = shutil.copytree(run.run, tmp_path / "broken")
    (broken / "calibration.npz").write_bytes(b"PK\x03\x04 cut")
    photo = one_of(run.run.parent / "photos")
    result = tltool("predict", broken, photo)
    assert result.exit_code == 4 and "calibration.npz has changed" in result.stderr
    result = tltool("predict", broken, photo, "--trust")
    assert result.exit_code == 3 and "calibration.npz' cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("other", "message"), [("gone", "there are no images in 'gone'"), ("/no/where", "/no/where")]
)
def test_missing_ood_images(fruit, finetune_tiny, other, message):
    with pytest.raises(DataError, match=message):
        finetune_tiny(fruit, f"data.ood_images={other}")


def test_ood_images_that_are_all_copies_of_class_images(fruit, finetune_tiny, tmp_path):
    copies = shutil.copytree(fruit / "plum", tmp_path / "plums")
    with pytest.raises(DataError, match="none of the 8 out-of-distribution images can be used"):
        finetune_tiny(fruit, f"data.ood_images={copies}")


@pytest.mark.thorough
@pytest.mark.slow
def test_prediction_sets_have_the_requested_coverage(finetune_tiny, tmp_path):
    """On new images of the same kind; given the calibration images, the hits are beta-binomial."""
    photos = write_fruit(tmp_path / "photos", n=80, seed=3)
    found = finetune_tiny(photos, *ONLY_PROBE, CALIBRATED, "data.validation_fraction=0.5")
    fresh = write_fruit(tmp_path / "fresh", n=80, seed=7)
    result = tltool("predict", found.run, fresh, "--prediction-set", "0.95", "--json")
    rows = json.loads(result.stdout)
    hits = sum(Path(row["path"]).parent.name in row["prediction_set"] for row in rows)
    n = found.metrics["n"]
    rank = math.ceil((n + 1) * 0.95)
    low, high = betabinom(len(rows), rank, n + 1 - rank).interval(0.99)
    by_class = tltool(
        "predict", found.run, fresh, "--prediction-set", "0.95", "--per-class", "--json"
    )
    per_class = json.loads(by_class.stdout)
    assert all(row["class"] in row["prediction_set"] for row in per_class)
    assert "per_class=True" in per_class[0]["predicted_by"]
    assert "per_class" not in rows[0]["predicted_by"]
    assert n > 100 and (high - low) / len(rows) < 0.25
    assert low <= hits <= high
    assert {len(row["prediction_set"]) for row in rows} >= {1, 2}


def test_a_set_contains_the_predicted_class_and_the_coverage_is_limited(run, tmp_path):
    fresh = write_fruit(tmp_path / "fresh", n=4, seed=7)
    rows = json.loads(tltool("predict", run.run, fresh, "--prediction-set", "0.8", "--json").stdout)
    assert all(row["class"] in row["prediction_set"] for row in rows)
    shown = tltool("predict", run.run, one_of(fresh), "--prediction-set", "0.8")
    assert "prediction set" in shown.stdout.splitlines()[0]
    much = tltool("predict", run.run, one_of(fresh), "--prediction-set", "0.99")
    assert much.exit_code == 2 and "validation images" in much.stderr
    few = tltool("predict", run.run, one_of(fresh), "--prediction-set", "0.95", "--per-class")
    assert few.exit_code == 2 and "--per-class with coverage 0.95 needs 19" in few.stderr


def test_groups_count_as_groups_in_the_calibration(finetune_tiny, tmp_path):
    photos = write_fruit(tmp_path / "photos", n=16, seed=5)
    files = sorted(photos.rglob("*.*"))
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name},{path.parent.name} {number % 16 // 2}"
        for number, path in enumerate(files)
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label,group", *rows]), "utf-8")
    found = finetune_tiny(
        table, *ONLY_PROBE, CALIBRATED, "data.validation_fraction=0.4", "evaluate.coverage=0.7"
    )
    n, groups = found.metrics["n"], load_artifact(found.run).calibration.groups
    assert len(groups) == n and len(np.unique(groups)) == n / 2
    selective = found.metrics["selective"]
    assert selective["ood_threshold_effective_images"] <= selective["ood_threshold_images"]
    refused = tltool("predict", found.run, files[0], "--prediction-set", "0.95")
    assert refused.exit_code == 2
    assert f"images of different groups; this model has {n // 2}" in refused.stderr


@pytest.mark.slow
def test_training_images_set_the_ood_threshold_too_while_the_backbone_is_frozen(
    fruit, finetune_tiny, tmp_path
):
    frozen = finetune_tiny(fruit, *ONLY_PROBE)
    trained = finetune_tiny(
        fruit, "train.probe.enabled=false", "train.head.epochs=0", "train.finetune.epochs=2"
    )
    one, other = (each.metrics["selective"] for each in (frozen, trained))
    assert one["ood_threshold_images"] == 24 > frozen.metrics["n"]
    assert one["ood_threshold_set_on"] == "training and validation images, scored out of fold"
    assert other["ood_threshold_images"] == trained.metrics["n"]
    assert other["ood_threshold_set_on"] == "validation images"
    given = shutil.copytree(fruit, tmp_path / "given" / "train")
    shutil.copytree(write_fruit(tmp_path / "more", n=3, seed=9), given.parent / "val")
    ready = finetune_tiny(given.parent, *ONLY_PROBE)
    assert ready.metrics["selective"]["ood_threshold_images"] == ready.metrics["n"] == 9


def one_of(folder: Path) -> Path:
    return sorted((folder / "plum").iterdir())[0]
