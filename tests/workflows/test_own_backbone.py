"""A run with a backbone of the user's own: a model file, or a Keras model in memory."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

from tests.conftest import merged, write_photos
from tests.workflows.conftest import TINY
from tltool.artifact import load_artifact
from tltool.cli.main import app
from tltool.errors import DataError, GateError, UsageError
from tltool.events import SilentObserver
from tltool.recipe.load import load_recipe
from tltool.runs.layout import check_run_folder
from tltool.runs.manifest import read_manifest, write_manifest
from tltool.workflows.compare_backbones import compare_backbones
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.dataset.image_size import fit_image_size
from tltool.workflows.finetune import FinetuneResult, finetune
from tltool.workflows.pack_run import pack
from tltool.workflows.reproduce import reproduce
from tltool.workflows.resolve.run_spec import resolve

SIDE = 32
SETTINGS = merged(*TINY, "model.weights=imagenet", "train.finetune.unfreeze=stage3", "name=own")


def body(*, scaled: bool = True) -> keras.Model:
    keras.utils.set_random_seed(1)
    images = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255)(images) if scaled else images
    for filters in (4, 8, 8):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    return keras.Model(images, x, name="body")


@dataclass(frozen=True)
class OwnRun:
    photos: Path
    result: FinetuneResult


@pytest.fixture(scope="module")
def own_run(fruit: Path, tmp_path_factory: pytest.TempPathFactory) -> OwnRun:
    """Return a run with a model in memory as the backbone, its file long gone."""
    folder = tmp_path_factory.mktemp("own")
    settings = merged(*SETTINGS, "export.enabled=true")
    result = finetune(
        fruit,
        recipe=load_recipe("vgg16", settings),
        backbone=body(scaled=False),
        preprocessing="tf",
        out=folder / "run",
        saved_models=folder / "saved_models",
    )
    return OwnRun(fruit, result)


def test_the_run_keeps_the_model_and_records_it(own_run: OwnRun) -> None:
    run = own_run.result.run
    backbone = json.loads((run / "manifest.json").read_text())["backbone"]

    assert (backbone["name"], backbone["preprocessing"]) == ("body", "tf")
    assert (run / "backbone" / "body.keras").is_file()
    assert "stages of body: stage1 16x16x4, stage2 8x8x8" in (run / "log.txt").read_text()


def test_the_trained_model_is_read_without_the_file(own_run: OwnRun) -> None:
    artifact = load_artifact(own_run.result.run)

    assert [stage.name for stage in artifact.network.backbone.stages] == [
        "stage1",
        "stage2",
        "stage3",
    ]
    frozen = artifact.network.model.get_layer(artifact.network.backbone.stages[0].layer).output
    trunk = keras.Model(artifact.network.images, frozen)
    original = body(scaled=False)
    first = keras.Model(original.input, original.layers[2].output)
    images = np.random.default_rng(0).uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    expected = np.asarray(first(images / 127.5 - 1))
    np.testing.assert_allclose(np.asarray(trunk(images)), expected, atol=1e-5)


@pytest.mark.thorough
def test_it_is_reproduced_from_a_packed_run(own_run: OwnRun, tmp_path: Path) -> None:
    packed = pack(own_run.result.run, tmp_path / "run.tar.gz")

    again = reproduce(packed, out=tmp_path / "again")

    assert again.verdict == "bit-identical"


def test_a_changed_model_in_a_packed_run_is_an_error(own_run: OwnRun, tmp_path: Path) -> None:
    packed = pack(own_run.result.run, tmp_path / "run.tar.gz")
    with tarfile.open(packed) as old, tarfile.open(tmp_path / "other.tar.gz", "w:gz") as new:
        for member in old:
            data = old.extractfile(member).read()
            if member.name == "backbone/body.keras":
                data = data[:-1] + b"x"
            new.addfile(member, io.BytesIO(data))

    with pytest.raises(GateError, match=r"backbone/body\.keras has changed"):
        reproduce(tmp_path / "other.tar.gz", out=tmp_path / "again")


def test_a_run_may_begin_in_a_folder_where_one_was_killed_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "backbone").mkdir()
    for name in (".lock", "manifest.json", "backbone/body.keras"):
        (tmp_path / name).touch()

    check_run_folder(tmp_path)

    (tmp_path / ".lock").unlink()
    with pytest.raises(UsageError, match="is not empty"):
        check_run_folder(tmp_path)


@pytest.mark.parametrize(("any_size", "fitted"), [(True, 64), (False, 96)])
def test_small_images_make_the_input_smaller_if_the_model_takes_them(
    any_size: bool, fitted: int, tmp_path: Path
) -> None:
    entry = keras.Input((96, 96, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(entry))
    if not any_size:
        x = layers.Reshape((48, 48, 4))(layers.Flatten()(x))
    keras.Model(entry, x).save(tmp_path / "body.keras")
    photos = write_photos(tmp_path / "photos", n=4, size=(40, 40))
    settings = ("data.image_size=auto", f"model.backbone={tmp_path / 'body.keras'}")
    spec = resolve(load_recipe("vgg16", settings))
    dataset = load_dataset(
        str(photos), test=None, settings=spec.recipe.data, seed=0, offline=True,
        observer=SilentObserver(),
    )  # fmt: skip

    spec = fit_image_size(spec, dataset, SilentObserver())

    assert spec.decode.height == fitted
    assert spec.backbone.sides(fitted) == [fitted // 2]


@pytest.mark.parametrize("change", ["changed", "changed beside the original", "gone"])
def test_it_is_not_reproduced_with_another_model(
    change: str, own_run: OwnRun, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(own_run.result.run, run)
    file = run / "backbone" / "body.keras"
    if change == "gone":
        file.unlink()
    else:
        manifest = read_manifest(run / "manifest.json")
        recorded = {**(manifest.backbone or {}), "file": str(tmp_path / "body.keras")}
        write_manifest(run / "manifest.json", replace(manifest, backbone=recorded))
        if change != "changed":
            shutil.copy(file, tmp_path)
        body().save(file)

    error, words = (DataError, "is gone") if change == "gone" else (GateError, "has changed")
    with pytest.raises(error, match=rf"body\.keras', {words}"):
        reproduce(run, out=tmp_path / "again")

    assert not (tmp_path / "again").exists()


@pytest.mark.thorough
def test_a_file_gives_what_the_model_in_memory_gives(
    own_run: OwnRun, finetune_tiny: Callable[..., FinetuneResult], tmp_path: Path
) -> None:
    file = tmp_path / "any name.keras"
    body(scaled=False).save(file)
    recipe = load_recipe(
        "vgg16",
        merged(*SETTINGS, f"model.backbone={file}", "model.preprocessing=tf"),
    )

    other = finetune(own_run.photos, recipe=recipe, out=tmp_path / "file")

    digests = [
        json.loads((run / "manifest.json").read_text())["model_digest"]
        for run in (own_run.result.run, other.run)
    ]
    assert digests[0] == digests[1]


@pytest.mark.thorough
def test_the_preprocessing_changes_the_features(own_run: OwnRun, tmp_path: Path) -> None:
    recipe = load_recipe("vgg16", SETTINGS)
    shared = tmp_path / "cache"

    probes = [
        finetune(
            own_run.photos, recipe=recipe, backbone=body(scaled=False), preprocessing=mode,
            out=tmp_path / mode, feature_cache=shared,
        ).metrics["log_loss"]
        for mode in ("tf", "unit")
    ]  # fmt: skip

    assert probes[0] != probes[1]
    assert probes[0] == own_run.result.metrics["log_loss"]


def test_a_path_in_a_recipe_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    body().save(tmp_path / "recipes" / "body.keras")
    recipe = tmp_path / "recipes" / "mine.yaml"
    recipe.write_text("base: vgg16\nmodel: {backbone: body.keras}\n")

    assert load_recipe(str(recipe)).model.backbone == str(tmp_path / "recipes" / "body.keras")


@pytest.mark.thorough
def test_it_is_compared_with_others(fruit: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        body().save(tmp_path / f"{name}.keras")

    board = compare_backbones(
        str(fruit), [str(tmp_path / "one.keras"), str(tmp_path / "two.keras")]
    )

    assert [entry.backbone.name for entry in board.entries] == ["one", "two"]
    assert board.entries[0].accuracy == board.entries[1].accuracy


def _regularized(tmp_path: Path) -> list[str]:
    body().save(tmp_path / "body.keras")
    return [str(tmp_path / "body.keras"), "--set", "model.regularization.stochastic_depth=0.1"]


def _unscaled(tmp_path: Path) -> list[str]:
    body(scaled=False).save(tmp_path / "body.keras")
    return [str(tmp_path / "body.keras")]


def _stage(tmp_path: Path) -> list[str]:
    body().save(tmp_path / "body.keras")
    return [str(tmp_path / "body.keras"), "--set", "train.finetune.unfreeze=block5"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_regularized, "model.regularization changes networks of the registry"),
        (_unscaled, "does not scale its input itself"),
        (_stage, "has no stage 'block5'"),
        (lambda _: ["nowhere.keras"], "there is no backbone"),
        (lambda folder: [str(folder)], "is a folder"),
    ],
)
def test_the_command_line_refuses_it_in_one_sentence(
    make: Callable[[Path], list[str]], words: str, fruit: Path, tmp_path: Path
) -> None:
    arguments = ["finetune", str(fruit), "--out", str(tmp_path / "run"), "--backbone"]

    result = CliRunner().invoke(app, [*arguments, *make(tmp_path)])

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split()) and "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wrong", [{"preprocessing": "tff"}, {"backbone": object()}])
def test_wrong_arguments_of_python(wrong: dict[str, Any], fruit: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'tf'|cannot be saved"):
        finetune(fruit, recipe=load_recipe("vgg16", SETTINGS), out=tmp_path / "run", **wrong)
