"""Each backbone gets the pixels that its weights were trained on."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.models.backbone_registry import BACKBONES, get_backbone
from tltool.models.preprocessing import Preprocess

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


def image() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype("float32")


@pytest.mark.parametrize("name", KERAS_OWN)
def test_it_is_what_keras_applications_does(name: str) -> None:
    expected = KERAS_OWN[name].preprocess_input(image())
    result = np.asarray(Preprocess(get_backbone(name).preprocessing)(image()))
    np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_it_is_what_torchvision_does(name: str) -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    result = np.asarray(Preprocess(get_backbone(name).preprocessing)(image()))
    np.testing.assert_allclose(result, (image() / 255 - mean) / std, atol=1e-5)


def test_every_published_backbone_is_pinned_here() -> None:
    pinned = {*KERAS_OWN, "resnet18", "resnet34"}
    assert pinned == {b.name for b in BACKBONES.values() if b.licence and b.family != "test"}


def test_unit_and_none_are_what_they_say() -> None:
    np.testing.assert_allclose(np.asarray(Preprocess("unit")(image())), image() / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(Preprocess("none")(image())), image())


def test_grey_is_one_channel_as_pillow_mixes_it() -> None:
    layer = Preprocess("grey")
    expected = image() @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(np.asarray(layer(image()))[..., 0], expected, rtol=1e-5)
    assert layer.compute_output_shape((None, 5, 4, 3)) == (None, 5, 4, 1)


def test_it_survives_saving() -> None:
    layer = Preprocess("torch", name="preprocess")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(copy, Preprocess)
    assert (copy.mode, copy.name, copy.compute_dtype) == ("torch", "preprocess", "float32")


def test_it_stays_float32_under_mixed_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = Preprocess("unit")(image())
    finally:
        keras.config.set_dtype_policy(before)
    assert result.dtype == "float32"


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(UsageError, match="Unknown preprocessing 'caffee'"):
        Preprocess("caffee")
