"""Heat maps: for every backbone and head, of what the network has learnt, at the right position."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import unless_thorough
from tltool.data.decoding.decode import decode_and_resize
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.evaluation.explain.heat_map_placement import place_heat_map, visible_box
from tltool.evaluation.explain.overlay import overlay, side_by_side
from tltool.evaluation.explain.saliency import METHODS, Explainer
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.heads import HEADS
from tltool.models.network_parts import Network

PATCH = 20


def network(name: str, head: str = "gap", *, size: int = 64, **changes: Any) -> Network:
    backbone = get_backbone(name)
    options: dict[str, Any] = {"dropout": 0.2, "hidden_units": 8, "norm": "batch", "seed": 0}
    options |= {"classes": 3, "weights": None, "image_size": (size, size), **changes}
    return Network(build_model(backbone, head=head, **options), backbone, head)


def noise(n: int, size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (n, size, size, 3)).astype(np.float32)


def check_maps(net: Network, method: str, images: np.ndarray) -> None:
    found = Explainer(net, method)(images, [0, 2])
    assert found.classes.tolist() == [0, 2]
    assert found.maps.dtype == np.float32 and len(found.maps) == 2
    assert min(found.maps.shape[1:]) > 1
    assert found.maps.min() >= 0
    assert all(one.max() in (0.0, 1.0) for one in found.maps)
    assert found.maps.any()
    np.testing.assert_allclose(found.logits, net.model(images, training=False), rtol=1e-4)


@pytest.mark.parametrize("head", unless_thorough([*HEADS], "gap", "attention"))
@pytest.mark.parametrize("method", METHODS)
def test_every_head_can_be_explained_by_every_method(head: str, method: str) -> None:
    check_maps(network("tiny_vgg", head, size=32), method, noise(2, 32))


def test_the_predicted_class_is_explained_by_default() -> None:
    net, images = network("tiny_vgg", size=32), noise(20, 32)
    found = Explainer(net)(images)
    np.testing.assert_array_equal(found.classes, found.logits.argmax(axis=1))
    np.testing.assert_allclose(found.maps[:3], Explainer(net)(images[:3]).maps, atol=1e-4)


def test_no_images_give_no_maps() -> None:
    assert len(Explainer(network("tiny_vgg", size=32))(noise(0, 32)).maps) == 0


def with_patches(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noise with a blue or a red square, the labels and masks of the squares."""
    rng = np.random.default_rng(seed)
    images = noise(n, seed=seed) / 3 + 80
    labels, inside = np.arange(n) % 2, np.zeros((n, 64, 64), bool)
    for image, label, pixels in zip(images, labels, inside, strict=True):
        top, left = rng.integers(0, 64 - PATCH, 2)
        square = slice(top, top + PATCH), slice(left, left + PATCH)
        image[square] = (250, 20, 20) if label else (20, 20, 250)
        pixels[square] = True
    return images, labels, inside


@functools.cache
def patch_network() -> Network:
    """Return a network that has learnt to classify squares as red or blue."""
    keras.utils.set_random_seed(0)
    net = network("tiny_vgg", classes=2, dropout=0.0)
    images, labels, _ = with_patches(1, 160)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.model.compile(keras.optimizers.Adam(3e-3), loss)
    history = net.model.fit(images, labels, epochs=6, batch_size=16, verbose=0)
    assert history.history["loss"][-1] < 0.1
    return net


@pytest.mark.parametrize("method", METHODS)
def test_the_map_lies_on_the_patch_that_decides(method: str) -> None:
    images, labels, inside = with_patches(2, 24)
    chosen = labels == 1
    found = Explainer(patch_network(), method)(images[chosen], [1] * 12)
    spec = DecodeSpec(64, 64)
    placed = np.stack([place_heat_map(one, spec, width=64, height=64) for one in found.maps])
    mass = (placed * inside[chosen]).sum((1, 2)) / placed.sum((1, 2))
    by_chance = inside[chosen].mean((1, 2))
    assert (mass > 4 * by_chance).all()


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_give_a_different_map(method: str) -> None:
    """Adebayo et al. 2018: a map that random weights do not change explains nothing."""
    images, labels, _ = with_patches(3, 16)
    images = images[labels == 1]
    learnt = patch_network()
    other = network("tiny_vgg", classes=2, seed=7)
    maps = [
        Explainer(net, method)(images, [1] * len(images)).maps.reshape(len(images), -1)
        for net in (learnt, other)
    ]
    correlations = [
        np.corrcoef(a, b)[0, 1] if a.any() and b.any() else 0.0 for a, b in zip(*maps, strict=True)
    ]
    again = Explainer(learnt, method)(images, [1] * len(images)).maps
    np.testing.assert_array_equal(maps[0], again.reshape(len(images), -1))
    assert np.mean(correlations) < 0.8


def test_a_feature_map_of_one_position_is_rejected() -> None:
    net = network("tiny_resnet", size=8)
    with pytest.raises(UsageError, match="single position"):
        Explainer(net)
    assert Explainer(net, "occlusion")(noise(1, 8)).maps.shape == (1, 8, 8)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(120, 200), (200, 120), (96, 96)])
def test_a_map_is_placed_back_onto_the_image(resize: Any, shape: tuple[int, int]) -> None:
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 18, width // 2 - 5
    image[top : top + 24, left : left + 24] = 255
    spec = DecodeSpec(48, 64, resize)
    seen = decode_and_resize(tf.io.encode_png(image), spec).numpy()[..., 0] / 255
    placed = place_heat_map(seen, spec, width=width, height=height)
    where = image[..., 0] == 255
    visible = ~np.isnan(placed)
    assert np.nanmean(placed[where]) > 0.85
    assert np.nanmean(placed[~where & visible]) < 0.05
    box = visible_box(spec, width, height)
    assert visible.sum() == (box.right - box.left) * (box.bottom - box.top)
    assert visible.all() == (resize != "crop" or shape[1] * 48 == shape[0] * 64)


def test_the_overlay_has_the_size_of_the_image_and_marks_parts_not_seen() -> None:
    image = noise(1, 64)[0].astype(np.uint8)[:, :40]
    drawn = overlay(image, np.eye(7, dtype=np.float32), DecodeSpec(32, 32, "crop"))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    colour = np.ptp(drawn.astype(int), axis=2)
    assert (colour[:12] == 0).all(), "unseen parts are grey"
    assert (colour[13:51].max(axis=1) > 20).any()


def test_image_and_overlay_are_side_by_side_at_the_size_of_the_image() -> None:
    image = noise(1, 300)[0].astype(np.uint8)
    words = {"title": "寿司 0.98 · $5.jpg " * 20, "subtitle": "Grad-CAM"}
    picture = np.asarray(
        side_by_side(image, np.eye(7, dtype=np.float32), DecodeSpec(32, 32), **words)
    )
    top = next(row for row in range(len(picture)) if (picture[row, 12:312] == image[0]).all())
    np.testing.assert_array_equal(picture[top : top + 300, 12:312], image)
    assert (picture[:, :6] == 255).all() and (picture[:, -6:] == 255).all(), "words are cut off"
    assert (picture[:top] < 100).any() and (picture[top + 300 :] < 100).any()


def test_a_small_image_is_enlarged_by_an_integer_factor() -> None:
    image = noise(1, 28)[0].astype(np.uint8)
    picture = side_by_side(
        image, np.eye(7, dtype=np.float32), DecodeSpec(28, 28), title="7", subtitle=""
    )
    pixels = np.asarray(picture)
    assert any(
        (pixels[row, 12 : 12 + 28 * 8] == image[0].repeat(8, axis=0)).all() for row in range(90)
    )
