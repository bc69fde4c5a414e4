"""tltool explain: one picture per image, for images of any kind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import ONLY_PROBE
from tltool.cli.main import app
from tltool.models.build import BUILDERS
from tltool.workflows.explain import explain

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def tltool(*args: object) -> Any:
    result = CliRunner().invoke(app, [*map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def mixed(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, one of them with an EXIF rotation, and a text file."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copy(next((trained.photos / "plum").iterdir()), folder / "0.png")
    pixels = np.random.default_rng(0).integers(0, 255, (300, 420, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.jpg", exif=exif, quality=95)
    (folder / "words.jpg").write_text("these are words")
    return folder


def test_one_picture_per_image_and_a_row_for_a_file_that_is_none(trained, mixed, tmp_path):
    result = tltool("explain", trained.run, mixed, "--out", tmp_path / "to", "--json")
    rows = {Path(row["path"]).name: row for row in json.loads(result.stdout)}
    assert result.exit_code == 3
    assert "1 of 3 images could not be explained" in result.stderr
    assert not rows["words.jpg"]["ok"] and rows["words.jpg"]["picture"] is None
    for name in ("0.png", "turned.jpg"):
        assert rows[name]["class"] == rows[name]["explained"]
        assert Path(rows[name]["picture"]).parent == tmp_path / "to"
        Image.open(rows[name]["picture"]).verify()
    predictions = json.loads(tltool("predict", trained.run, mixed, "--json").stdout)
    for prediction in predictions:
        row = rows[Path(prediction["path"]).name]
        assert row["class"] == prediction["class"]
        assert row["confidence"] == pytest.approx(prediction["confidence"], abs=0.02)  # bfloat16


def test_the_image_is_upright_and_has_its_original_size(trained, mixed, tmp_path):
    tltool("explain", trained.run, mixed / "turned.jpg", "--out", tmp_path)
    picture = np.asarray(Image.open(tmp_path / "turned-grad-cam.png").convert("RGB"), np.int16)
    with Image.open(mixed / "turned.jpg") as stored:
        upright = np.asarray(stored.transpose(Image.Transpose.ROTATE_270).convert("RGB"), np.int16)
    assert upright.shape == (420, 300, 3)
    assert any(
        np.abs(picture[top : top + 420, 12:312] - upright).mean() < 8
        for top in range(len(picture) - 420)
    )


def test_no_existing_file_is_replaced(trained, mixed, tmp_path):
    (tmp_path / "0-grad-cam.png").write_text("mine")
    for _ in range(2):
        assert tltool("explain", trained.run, mixed / "0.png", "--out", tmp_path).exit_code == 0
    assert (tmp_path / "0-grad-cam.png").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {
        "0-grad-cam.png",
        "0-grad-cam-2.png",
        "0-grad-cam-3.png",
    }


def test_another_class_by_another_method(trained, mixed, tmp_path):
    options = ("--class", "kaki 柿", "--method", "occlusion", "--out", tmp_path, "--json")
    result = tltool("explain", trained.run, mixed / "0.png", *options)
    (row,) = json.loads(result.stdout)
    assert row["explained"] == "kaki 柿"
    assert row["picture"].endswith("0-occlusion.png")


def test_a_class_that_the_model_does_not_have(trained, mixed, tmp_path):
    result = tltool("explain", trained.run, mixed, "--class", "plumm", "--out", tmp_path / "to")
    assert result.exit_code == 2
    assert "Did you mean 'plum'?" in result.stderr
    assert not (tmp_path / "to").exists()


def test_an_output_folder_that_is_a_file(trained, mixed):
    result = tltool("explain", trained.run, mixed, "--out", mixed / "words.jpg")
    assert result.exit_code == 2
    assert "is a file" in result.stderr


@pytest.mark.thorough
def test_a_saved_model_gives_the_heat_maps_of_its_run(trained, mixed, tmp_path):
    for number, more in enumerate(((), ("--class", "plum"))):
        rows, maps = [], []
        for model in (trained.run, trained.export):
            out = tmp_path / f"{number}-{len(rows)}"
            result = tltool("explain", model, mixed, "--out", out, "--json", *more)
            assert result.exit_code == 3, result.stderr  # because of the text file
            rows.append({Path(row["path"]).name: row for row in json.loads(result.stdout)})
            maps.append(np.asarray(Image.open(out / "0-grad-cam.png"), np.int16))
        assert [rows[1][name]["explained"] for name in rows[1]] == [
            rows[0][name]["explained"] for name in rows[0]
        ]
        for others, drawn in zip(rows[1:], maps[1:], strict=True):
            assert others["0.png"]["is_known"] == rows[0]["0.png"]["is_known"]
            assert others["words.jpg"]["error"] and not others["words.jpg"]["ok"]
            assert np.abs(drawn - maps[0]).mean() < 3  # the run may compute in bfloat16


def test_a_saved_model_supports_one_method(trained, mixed, tmp_path):
    result = tltool("explain", trained.export, mixed, "--method", "occlusion", "--out", tmp_path)
    assert result.exit_code == 2
    assert "supports only grad-cam" in result.stderr and "--format keras" in result.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_a_saved_model_that_cannot_have_heat_maps_says_why(
    trained, finetune_tiny, tmp_path, monkeypatch
):
    build = BUILDERS["tiny_resnet"]  # of 16 pixels it makes a feature map of 2 x 2
    monkeypatch.setitem(
        BUILDERS, "tiny_resnet", lambda images: build(keras.layers.AveragePooling2D(2)(images))
    )
    network = ("model.backbone=tiny_resnet", "data.image_size=16", "train.finetune.unfreeze=none")
    settings = (*network, *ONLY_PROBE, "export.enabled=true")
    result = finetune_tiny(trained.photos, *settings, saved_models=tmp_path / "models")
    photo = next((trained.photos / "plum").iterdir())
    refused = tltool("explain", result.export, photo, "--out", tmp_path / "to")
    assert refused.exit_code == 2
    message = " ".join(refused.stderr.split())
    assert "its last feature map for images of 16x16 pixels is a single position" in message
    assert "--method occlusion" in message and "data.image_size" in message
    mended = tltool("explain", result.run, photo, "--method", "occlusion", "--out", tmp_path / "to")
    assert mended.exit_code == 0, mended.stderr


def test_a_requested_class_is_in_the_table(trained, mixed, tmp_path):
    image = mixed / "0.png"
    default = tltool("explain", trained.run, image, "--out", tmp_path).stdout
    kaki = tltool("explain", trained.run, image, "--class", "kaki 柿", "--out", tmp_path).stdout
    assert "probability" in kaki and "kaki 柿" in kaki and "probability" not in default


def test_file_names_that_are_no_text_are_drawn_too(trained, mixed, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in (b"latin\xe9.png", b"two\nlines.png"):
        shutil.copy(mixed / "0.png", photos / os.fsdecode(name))
    explanations = explain(trained.run, [photos], out=tmp_path / "to")
    assert all(one.error is None and one.picture for one in explanations)
    assert len(list((tmp_path / "to").iterdir())) == 2


def test_a_very_wide_image_is_above_its_heat_map(trained, mixed, tmp_path):
    Image.open(mixed / "turned.jpg").resize((900, 60)).save(tmp_path / "long.png")
    tltool("explain", trained.run, tmp_path / "long.png", "--out", tmp_path)
    with Image.open(tmp_path / "long-grad-cam.png") as picture:
        assert 900 < picture.width < 1000 and picture.height > 120


def test_a_damaged_keras_export(trained, mixed, tmp_path):
    (tmp_path / "model.keras").write_text("no model")
    result = tltool("explain", tmp_path, mixed, "--out", tmp_path / "to")
    assert result.exit_code == 3
    assert "damaged" in result.stderr


@pytest.mark.parametrize("what", ["nothing", "folder"])
def test_a_path_that_is_no_model(what, mixed, tmp_path):
    (tmp_path / "folder").mkdir()
    result = tltool("explain", tmp_path / what, mixed, "--out", tmp_path / "to")
    assert result.exit_code == {"nothing": 2, "folder": 3}[what]


def test_a_folder_without_images(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    result = tltool("explain", trained.run, tmp_path / "empty")
    assert result.exit_code == 3
