"""Every kind of source works with every command: archives, tables of paths and of pixels."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE, merged, unless_thorough
from tests.data.test_remote import upload
from tests.data.test_tables import Listener
from tests.workflows.conftest import TINY
from tltool.cli.main import app
from tltool.recipe.schema import DataSection
from tltool.runs.manifest import read_manifest
from tltool.workflows.dataset.dataset import load_dataset

pytestmark = pytest.mark.usefixtures("models_loaded_once")


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


def write_parquet(images: Path, path: Path) -> str:
    files = sorted(images.rglob("*.png"))
    rows = {
        "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
        "label": [file.parent.name for file in files],
    }
    parquet.write_table(pyarrow.table(rows), path)
    return f"parquet:{path}"


def write_webdataset(images: Path, path: Path) -> str:
    with tarfile.open(path, "w") as archive:
        for number, file in enumerate(sorted(images.rglob("*.png"))):
            archive.add(file, f"{number:04d}.png")
            label = file.parent.name.encode()
            member = tarfile.TarInfo(f"{number:04d}.cls")
            member.size = len(label)
            archive.addfile(member, io.BytesIO(label))
    return f"wds:{path}"


@pytest.fixture(scope="module")
def sources(trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """The images of the trained run in other forms."""
    folder = tmp_path_factory.mktemp("sources")
    return {
        "zip": Path(shutil.make_archive(str(folder / "fruit"), "zip", trained.photos)),
        "tar": Path(shutil.make_archive(str(folder / "fruit"), "xztar", trained.photos)),
        "csv": write_table(trained.photos, folder / "fruit.csv"),
        "parquet": write_parquet(trained.photos, folder / "fruit.parquet"),
        "wds": write_webdataset(trained.photos, folder / "fruit-000.tar"),
        "remote": upload(trained.photos, "memory://bucket/more/fruit"),
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


@pytest.fixture(scope="module")
def of_folder(trained) -> dict[str, object]:
    """Return what the run's evaluation on its own folder says."""
    measured = document("evaluate", trained.run, trained.photos)
    return {key: value for key, value in measured.items() if key != "evaluated_on"}


@pytest.mark.parametrize(
    "kind",
    unless_thorough(["zip", "tar", "csv", "parquet", "wds", "remote"], "zip", "csv", "remote"),
)
def test_a_model_is_evaluated_on_any_source(trained, sources, of_folder, kind):
    found = document("evaluate", trained.run, sources[kind])
    assert found.pop("evaluated_on") == str(sources[kind])
    assert found == of_folder
    part = document("evaluate", trained.run, sources[kind], "--split", "validation")
    assert part["n"] == json.loads((trained.run / "metrics.json").read_text("utf-8"))["n"]


def test_images_are_named_by_their_path_in_the_source(trained, sources):
    found = document("predict", trained.export, sources["zip"])
    by_path = {row["path"]: row["class"] for row in found}
    folder = document("predict", trained.export, trained.photos)
    named = {Path(row["path"]).relative_to(trained.photos): row["class"] for row in folder}
    assert by_path == {str(sources["zip"] / name): label for name, label in named.items()}
    remote = document("predict", trained.export, sources["remote"])
    assert {row["path"]: row["class"] for row in remote} == {
        f"{sources['remote']}/{name.as_posix()}": label for name, label in named.items()
    }


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run_of_an_archive_is_reproduced_and_exported_when_its_copy_is_gone(
    sources, tmp_path, monkeypatch
):
    monkeypatch.setenv("TLTOOL_DATA_DIR", str(tmp_path / "cache"))
    how = ["--offline", "--no-tensorboard", *flags(*ONLY_PROBE)]
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
    quick = flags(*ONLY_PROBE)
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
    run = ("--test", archive, "--out", tmp_path / "run", "--offline", *flags(*ONLY_PROBE))
    found = document("finetune", sources["remote"], *run)
    assert found["metrics"]["n"] == 3
    manifest = read_manifest(tmp_path / "run" / "manifest.json")
    assert manifest.options.data == sources["remote"]
    rows = (tmp_path / "run" / "split.csv").read_text("utf-8").splitlines()
    assert rows[1].startswith("green apple/0_00.png,")
    assert manifest.export is None or "fruit" in str(manifest.export)


def test_a_run_reports_class_names_in_two_spellings(tmp_path):
    for number, name in enumerate(("Plum", "plum", "pear")):
        (tmp_path / "fruit" / name).mkdir(parents=True)
        for n in range(4):
            pixels = np.random.default_rng(10 * number + n).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "fruit" / name / f"{n}.png")
    listener = Listener()
    load_dataset(
        str(tmp_path / "fruit"),
        test=None,
        settings=DataSection(),
        seed=0,
        offline=True,
        observer=listener,
    )
    warnings = [message for message in listener.messages if "spelling" in message]
    assert len(warnings) == 1
    assert "'Plum' and 'plum'" in warnings[0]
