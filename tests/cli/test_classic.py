"""Classic nets from the command line: trained from scratch, exported, explained; and refused."""

from __future__ import annotations

import json

import pytest

from tests.conftest import by_cost, write_photos
from tltool.export.export_formats import FORMATS

EVERY = ",".join(name for name in FORMATS if name != "saved_model")
CONVERTED = "litert,onnx"
"""One of each converter; tests/cli/test_export.py exports another network to every format."""
SHORT = ("train.finetune.epochs=1", "train.batch_size=8", "evaluate.report=false")


def train(tltool, photos, run, *flags, settings=()):
    folders = ("--out", run, "--export-to", run.parent / "exports", "--offline", "--json")
    return tltool("finetune", photos, *folders, *flags, settings=(*SHORT, *settings))


@pytest.mark.slow
@pytest.mark.parametrize("formats", by_cost([EVERY, CONVERTED], thorough=[EVERY]))
def test_lenet5_learns_and_is_exported(tltool, tmp_path, formats):
    photos, run = write_photos(tmp_path / "photos", n=12), tmp_path / "run"
    result = train(tltool, photos, run, "--recipe", "scratch", "--backbone", "lenet5")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["export"], "the SavedModel answers like the model"
    out = ("--out", tmp_path / "models", "--json")
    exported = tltool("export", run, "--format", formats, *out)
    assert exported.exit_code == 0, exported.stderr
    assert [one["format"] for one in json.loads(exported.stdout)["exports"]] == formats.split(",")
    heat = tltool("explain", run, photos / "cat", "--out", tmp_path / "heat", "--json")
    assert heat.exit_code == 0, heat.stderr
    assert len(list((tmp_path / "heat").glob("*.png"))) == 12


@pytest.mark.thorough
@pytest.mark.slow
def test_alexnet_classic_trains_by_its_recipe(tltool, tmp_path):
    photos, run = write_photos(tmp_path / "photos", n=12, size=80), tmp_path / "run"
    small = ("data.image_size=67",)
    result = train(tltool, photos, run, "--recipe", "alexnet_classic", settings=small)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["export"], "the SavedModel answers like the model"
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    assert manifest["backbone"]["name"] == "alexnet"


def test_without_weights_the_way_from_scratch_is_named(tltool, the_error, make_photos):
    result = tltool("finetune", make_photos(), "--backbone", "lenet5")
    assert result.exit_code == 2
    assert the_error(result) == "error: lenet5 has no pretrained weights."
    assert "hint: train it from scratch: --recipe scratch --backbone lenet5" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--backbone", "alexnet"), "train it from scratch: --recipe alexnet_classic"),
        (("--backbone", "digits_cnn"), "train it from scratch: --recipe digit_recognizer"),
        (
            ("--recipe", "scratch", "--backbone", "lenet5"),
            "this recipe trains all of it: set model.weights to random",
        ),
    ],
)
def test_the_hint_names_what_works(tltool, the_error, make_photos, arguments, hint):
    settings = ("model.weights=imagenet",)
    result = tltool("finetune", make_photos(), *arguments, settings=settings)
    assert result.exit_code == 2
    assert f"{arguments[-1]} has no pretrained weights." in the_error(result)
    assert f"hint: {hint}\n" in result.stderr


@pytest.mark.parametrize(
    ("name", "size", "least"), [("vgg16", 31, 32), ("alexnet", 62, 63), ("resnet50", 16, 32)]
)
def test_images_below_the_least_size_are_refused_at_once(
    tltool, the_error, make_photos, name, size, least
):
    settings = (f"data.image_size={size}", "model.weights=random")
    result = tltool("finetune", make_photos(), "--backbone", name, settings=settings)
    assert result.exit_code == 2
    assert f"{name} needs images of at least {least} px, not {size}x{size}" in the_error(result)
