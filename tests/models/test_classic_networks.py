"""Nets that are trained from scratch start well and learn."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.models.backbone_registry import BACKBONES, get_backbone
from tltool.models.build import build_model
from tltool.models.preprocessing import preprocessed


def make(name: str, size: int, head: str = "original") -> keras.Model:
    options = {"classes": 2, "head": head, "dropout": 0.0, "hidden_units": 8, "norm": "none"}
    backbone = get_backbone(name)
    return build_model(backbone, image_size=(size, size), weights=None, seed=0, **options)


def random_images(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (n, size, size, 3)).astype("float32")


def test_lenet5_sees_one_grey_channel() -> None:
    model, x = make("lenet5", 32), random_images(3, 32)
    grey = np.repeat(np.asarray(preprocessed(x, "grey")) * 255, 3, axis=-1)
    assert model.get_layer("conv1_conv").kernel.shape == (5, 5, 1, 6)
    np.testing.assert_allclose(np.asarray(model(grey)), np.asarray(model(x)), atol=1e-4)


@pytest.mark.parametrize("name", [name for name, b in BACKBONES.items() if b.family == "classic"])
def test_the_least_size_is_the_least(name: str) -> None:
    backbone = get_backbone(name)
    assert make(name, backbone.min_size, "gap")(random_images(1, backbone.min_size)).shape == (1, 2)
    with pytest.raises(UsageError, match=f"{name} needs images of at least {backbone.min_size} px"):
        make(name, backbone.min_size - 1)


# VGG16's pixels are in ±128: without care its first logits were in the hundreds
@pytest.mark.parametrize(("name", "size"), [("vgg16", 32), ("alexnet", 67), ("lenet5", 32)])
def test_random_features_begin_near_one(name: str, size: int) -> None:
    model = make(name, size, "gap")
    end = model.get_layer(get_backbone(name).stages[-1].layer)
    features = np.asarray(keras.Model(model.input, end.output)(random_images(8, size)))
    assert 0.05 < np.sqrt((features**2).mean()) < 5


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("lenet5", 32), ("alexnet", 67)])
def test_it_learns_to_separate_light_from_dark(name: str, size: int) -> None:
    model, labels = make(name, size), np.array([0, 1] * 4)
    images = random_images(8, size) * np.array([1, 0.3] * 4)[:, None, None, None]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
    model.fit(images, labels, epochs=30, verbose=0)
    assert model.evaluate(images, labels, verbose=0)[1] == 1
