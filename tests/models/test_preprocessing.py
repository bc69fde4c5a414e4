"""Each backbone gets the pixels that its weights were trained on."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.models.backbone_registry import BACKBONES, PreprocessMode, get_backbone
from tltool.models.preprocessing import preprocessed
from tltool.weights.keras_files import KERAS_FILES

KERAS_OWN = {
    "vgg16": keras.applications.vgg16,
    "vgg19": keras.applications.vgg19,
    "resnet50": keras.applications.resnet,
    "resnet101": keras.applications.resnet,
    "resnet152": keras.applications.resnet,
    "resnet50v2": keras.applications.resnet_v2,
    "resnet101v2": keras.applications.resnet_v2,
    "resnet152v2": keras.applications.resnet_v2,
}
LITE = [f"efficientnet_lite{variant}" for variant in range(3)]


def image() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype("float32")


def layer(mode: PreprocessMode) -> keras.Model:
    images = keras.Input((5, 4, 3), dtype="float32")
    return keras.Model(images, preprocessed(images, mode))


def applied(mode: PreprocessMode) -> np.ndarray:
    return np.asarray(layer(mode)(image()))


@pytest.mark.parametrize("name", KERAS_OWN)
def test_it_is_what_keras_applications_does(name: str) -> None:
    expected = KERAS_OWN[name].preprocess_input(image())
    result = applied(get_backbone(name).preprocessing)
    np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_it_is_what_torchvision_does(name: str) -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    result = applied(get_backbone(name).preprocessing)
    np.testing.assert_allclose(result, (image() / 255 - mean) / std, atol=1e-5)


@pytest.mark.parametrize("name", LITE)
def test_efficientnet_lite_has_the_pixels_of_its_paper_s_code(name: str) -> None:
    result = applied(get_backbone(name).preprocessing)
    np.testing.assert_allclose(result, (image() - 127) / 128, atol=1e-6)


def test_every_published_backbone_is_pinned_here() -> None:
    by_whole_network = {row[0] for row in KERAS_FILES}  # in test_keras_applications.py
    pinned = {*KERAS_OWN, "resnet18", "resnet34", *LITE, *by_whole_network}
    assert pinned == {b.name for b in BACKBONES.values() if b.licence and b.family != "test"}


def test_unit_and_none_are_what_they_say() -> None:
    np.testing.assert_allclose(applied("unit"), image() / 255, rtol=1e-6)
    np.testing.assert_array_equal(applied("none"), image())


def test_grey_is_one_channel_as_pillow_mixes_it() -> None:
    expected = image() @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(applied("grey"), expected[..., np.newaxis], rtol=1e-5)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch", "lite", "unit", "grey", "none"])
def test_a_saved_network_computes_the_same_and_needs_only_keras(mode, tmp_path) -> None:
    model = layer(mode)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"tltool" not in archive.read("config.json")
    copy = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(np.asarray(copy(image())), np.asarray(model(image())))


def test_it_stays_float32_under_mixed_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = layer("unit")(image())
    finally:
        keras.config.set_dtype_policy(before)
    assert result.dtype == "float32"


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(UsageError, match="Unknown preprocessing 'caffee'"):
        layer("caffee")
