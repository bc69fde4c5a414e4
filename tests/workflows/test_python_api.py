"""tltool in a Python program: own data in, a loaded model out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tltool
from tests.notebook_kernel import as_notebook
from tltool.errors import DataError, UsageError
from tltool.workflows.load import TrainedModel


@pytest.fixture(scope="module")
def model(trained) -> TrainedModel:
    return tltool.load(trained.result.run)


def test_paths_bytes_arrays_and_datasets_get_the_same_prediction(trained, model) -> None:
    path = sorted((trained.photos / "plum").iterdir())[0]
    array = np.asarray(Image.open(path).convert("RGB"))
    expected = tltool.predict(trained.result.run, [path], top=3)[0]
    dataset = tf.data.Dataset.from_tensors((array, 1))
    assert model.predict(path, top=3)[0].top == expected.top
    for images in (path.read_bytes(), [path], str(path)):
        assert model.predict(images, top=3)[0].top == expected.top
    decoded = [model.predict(images, top=3)[0] for images in (array, array[None], dataset)]
    assert decoded[0].top == decoded[1].top == decoded[2].top
    assert decoded[0].top[0][0] == expected.top[0][0]
    np.testing.assert_allclose(decoded[0].top[0][1], expected.top[0][1], atol=0.02)


def test_a_run_shows_its_classes_figures_and_epochs(trained, model) -> None:
    assert set(model.class_names) == {folder.name for folder in trained.photos.iterdir()}
    assert model.metrics == trained.result.metrics
    assert {row["phase"] for row in model.history} >= {"probe", "head", "finetune"}
    shown = model._repr_html_()
    assert re.search(r"accuracy [\d.]+ % \(.* to .*\) on \d+ validation images", shown)


def test_the_methods_show_their_progress_in_a_notebook(
    trained, model, tmp_path, monkeypatch
) -> None:
    image = sorted((trained.photos / "plum").iterdir())[0]
    for phase, call in (
        ("predict", lambda: model.predict(image)),
        ("audit", lambda: model.evaluate(trained.photos)),
        ("explain", lambda: model.explain(image, out=tmp_path / "heat")),
    ):
        shown = as_notebook(monkeypatch)
        call()
        assert f"✓ <b>{phase}</b>" in shown.pages[-1]


def test_a_result_shows_its_worst_mistakes(trained, tmp_path) -> None:
    run = shutil.copytree(trained.result.run, tmp_path / "run")
    table = run / "predictions.csv"
    header, first, *others = table.read_text("utf-8").splitlines()
    wrong = dict(zip(header.split(","), first.split(","), strict=True))
    table.write_text(
        "\n".join([header, first.replace(",true,", ",false,"), *others]) + "\n", "utf-8"
    )
    shown = replace(trained.result, run=run)._repr_html_()
    assert f"instead of {wrong['label']}: {wrong['path']}" in shown
    assert "<img alt='' src='data:image/jpeg;base64," in shown
    table.unlink()
    assert "Worst mistakes" not in replace(trained.result, run=run)._repr_html_()


@pytest.mark.thorough
def test_the_network_is_plain_keras_and_a_copy(trained, model) -> None:
    network = model.keras_model
    images = np.random.default_rng(0).uniform(0, 255, (2, *network.input_shape[1:])).astype("f4")
    before = np.asarray(network(images, training=False))
    file = trained.result.run / "model.keras"
    program = (
        "import sys, numpy, keras\n"
        f"model = keras.saving.load_model({str(file)!r}, safe_mode=True)\n"
        "images = numpy.load(sys.argv[1])\n"
        "numpy.save(sys.argv[2], numpy.asarray(model(images, training=False), 'float32'))\n"
        "assert 'tltool' not in sys.modules\n"
    )
    folder = trained.result.run.parent
    np.save(folder / "images.npy", images)
    arguments = [str(folder / name) for name in ("images.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=120)
    np.testing.assert_allclose(np.load(arguments[1]), before.astype("float32"), atol=1e-4)
    network.layers[-1].bias.assign_add([100.0] + [0.0] * (len(model.class_names) - 1))
    photo = sorted((trained.photos / "plum").iterdir())[0]
    assert model.predict(photo)[0].top == tltool.predict(trained.result.run, [photo])[0].top


def test_an_export_predicts_and_says_that_it_has_no_network(trained) -> None:
    exported = tltool.load(trained.result.export)
    photo = sorted((trained.photos / "plum").iterdir())[0]
    assert exported.predict(photo)[0].top[0][0] in exported.class_names
    with pytest.raises(UsageError, match="whose network cannot be trained"):
        _ = exported.keras_model
    with pytest.raises(UsageError, match=r"has no metrics\.json"):
        _ = exported.metrics


def test_pixels_of_0_to_1_are_refused(model) -> None:
    with pytest.raises(DataError, match="pixels are from 0 to 255"):
        model.predict(np.full((8, 8, 3), 0.5))
    with pytest.raises(UsageError, match="images of type int"):
        model.predict(3)


def test_arrays_are_trained_on_with_a_recipe_from_a_dictionary(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = np.clip(rng.normal(90, 20, (60, 32, 32, 3)), 0, 255)
    images[labels == 1, ..., 0] += 100
    result = tltool.finetune(
        (images.clip(0, 255).astype("uint8"), labels),
        class_names=["dark", "red"],
        recipe={"base": "quick", "model": {"backbone": "tiny_vgg", "weights": "random"}},
        set={"export.enabled": False, "evaluate.report": False, "data.image_size": 32},
        out=tmp_path / "run",
    )
    model = tltool.load(result.run)
    assert model.class_names == ("dark", "red")
    assert model.predict(images[labels == 1][0].clip(0, 255))[0].top[0][0] == "red"
    assert result.metrics["accuracy"]["value"] > 0.9
