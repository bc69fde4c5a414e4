"""Every kind of source works with every command: archives, tables of paths and of pixels."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import merged
from tests.workflows.conftest import TINY
from tltool.cli.main import app
from tltool.runs.manifest import read_manifest


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def document(*args: object) -> Any:
    result = tltool(*args, "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def write_table(images: Path, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for image in sorted(images.rglob("*.png")):
            writer.writerow([image, image.parent.name])
    return path


@pytest.fixture(scope="module")
def sources(trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The images of the trained run in other forms."""
    folder = tmp_path_factory.mktemp("sources")
    return {
        "zip": Path(shutil.make_archive(str(folder / "fruit"), "zip", trained.photos)),
        "tar": Path(shutil.make_archive(str(folder / "fruit"), "xztar", trained.photos)),
        "csv": write_table(trained.photos, folder / "fruit.csv"),
    }


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light images of 16 x 18 pixels, 12 of each."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("pixels") / "train.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *(f"pixel{n}" for n in range(16 * 18))])
        for number in range(24):
            light = number % 2
            writer.writerow([light, *(rng.integers(0, 100, 16 * 18) + 155 * light)])
    return path


def flags(*settings: str) -> list[str]:
    return [flag for setting in merged(*TINY, *settings) for flag in ("--set", setting)]


@pytest.mark.parametrize("kind", ["zip", "tar", "csv"])
def test_a_model_is_evaluated_on_any_source(trained, sources, kind):
    folder = document("evaluate", trained.run, trained.photos)
    found = document("evaluate", trained.run, sources[kind])
    assert found.pop("evaluated_on") == str(sources[kind])
    folder.pop("evaluated_on")
    assert found == folder
    part = document("evaluate", trained.run, sources[kind], "--split", "validation")
    assert part["n"] == json.loads((trained.run / "metrics.json").read_text("utf-8"))["n"]


def test_images_are_named_by_their_path_in_the_source(trained, sources):
    found = document("predict", trained.export, sources["zip"])
    by_path = {row["path"]: row["class"] for row in found}
    folder = document("predict", trained.export, trained.photos)
    assert by_path == {
        str(sources["zip"] / Path(row["path"]).relative_to(trained.photos)): row["class"]
        for row in folder
    }


def test_a_run_of_an_archive_is_reproduced_and_exported_when_its_copy_is_gone(
    sources, tmp_path, monkeypatch
):
    monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / "cache"))
    how = [
        "--offline",
        "--no-tensorboard",
        *flags("train.head.epochs=1", "train.finetune.epochs=1"),
    ]
    assert document("finetune", sources["zip"], "--out", tmp_path / "run", *how)
    manifest = read_manifest(tmp_path / "run" / "manifest.json")
    assert manifest.options.data == str(sources["zip"])
    rows = (tmp_path / "run" / "split.csv").read_text("utf-8").splitlines()
    assert rows[1].startswith("green apple/0_00.png,")
    shutil.rmtree(tmp_path / "cache")
    again = document(
        "runs", "reproduce", tmp_path / "run", "--out", tmp_path / "again", "--offline"
    )
    assert again["verdict"] == "bit-identical"
    shutil.rmtree(tmp_path / "cache")
    assert document("export", tmp_path / "run", "--out", tmp_path / "exports")


def test_pixels_of_a_recipe_train_and_predict(pixels, tmp_path, monkeypatch):
    recipe = tmp_path / "mine.yaml"
    shutil.copy(pixels, tmp_path / "train.csv")
    recipe.write_text("base: vgg16\ndata: {source: train.csv, pixels: 16x18, image_size: 16}")
    quick = flags("train.head.epochs=1", "train.finetune.epochs=0")
    found = document("recipes", "run", recipe, "--out", tmp_path / "run", "--offline", *quick)
    assert found["metrics"]["n"] > 0
    lines = pixels.read_text().splitlines()
    unlabelled = tmp_path / "test.csv"
    unlabelled.write_text("\n".join(line.partition(",")[2] for line in lines))
    answers = document("predict", tmp_path / "run", unlabelled, "--pixels", "16x18")
    assert [row["path"] for row in answers[:2]] == [
        str(unlabelled / "000001.png"),
        str(unlabelled / "000002.png"),
    ]
    assert [row["class"] for row in answers] == [line.partition(",")[0] for line in lines[1:]]
    measured = document("evaluate", tmp_path / "run", pixels, "--pixels", "16x18")
    assert measured["accuracy"]["value"] == 1.0


def test_a_separate_test_source(sources, trained, tmp_path):
    test = tmp_path / "test"
    for folder in trained.photos.iterdir():
        (test / folder.name).mkdir(parents=True)
        photo = next(folder.iterdir())
        Image.open(photo).rotate(90).save(test / folder.name / photo.name)
    archive = shutil.make_archive(str(tmp_path / "held"), "gztar", test)
    quick = flags("train.head.epochs=1", "train.finetune.epochs=0")
    run = ("--test", archive, "--out", tmp_path / "run", "--offline", *quick)
    found = document("finetune", sources["csv"], *run)
    assert found["metrics"]["n"] == 3
