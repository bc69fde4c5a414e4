"""Heat maps: for every backbone and head, of what the network has learnt, over the right place."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.data.decoding.decode import decode_and_resize
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.evaluation.explain.overlay import overlay, side_by_side
from tltool.evaluation.explain.placement import place, seen_box
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
    found = Explainer(net, method)(images, [0, 2])  # type: ignore[arg-type]
    assert found.classes.tolist() == [0, 2]
    assert found.maps.dtype == np.float32 and len(found.maps) == 2
    assert min(found.maps.shape[1:]) > 1
    assert found.maps.min() >= 0
    assert all(one.max() in (0.0, 1.0) for one in found.maps)
    assert found.maps.any()
    np.testing.assert_allclose(found.logits, net.model(images, training=False), rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", METHODS)
def test_every_head_can_be_explained_by_every_method(head: str, method: str) -> None:
    check_maps(network("tiny_vgg", head, size=32), method, noise(2, 32))


def test_the_class_explained_is_by_default_the_one_that_wins() -> None:
    net, images = network("tiny_vgg", size=32), noise(20, 32)
    found = Explainer(net)(images)
    np.testing.assert_array_equal(found.classes, found.logits.argmax(axis=1))
    np.testing.assert_allclose(found.maps[:3], Explainer(net)(images[:3]).maps, atol=1e-4)


def test_no_images_give_no_maps() -> None:
    assert len(Explainer(network("tiny_vgg", size=32))(noise(0, 32)).maps) == 0


def with_patches(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noise with a blue or a red square somewhere, the labels and the squares' pixels."""
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
    """Return a network that has learnt to tell noise with a red square from that with a blue."""
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
    found = Explainer(patch_network(), method)(images[chosen], [1] * 12)  # type: ignore[arg-type]
    spec = DecodeSpec(64, 64)
    placed = np.stack([place(one, spec, width=64, height=64) for one in found.maps])
    mass = (placed * inside[chosen]).sum((1, 2)) / placed.sum((1, 2))
    by_chance = inside[chosen].mean((1, 2))
    assert (mass > 4 * by_chance).all()


@pytest.mark.parametrize("method", METHODS)
def test_random_weights_give_another_map(method: str) -> None:
    """Adebayo et al. 2018: a map that random weights do not change explains nothing."""
    images, labels, _ = with_patches(3, 16)
    images = images[labels == 1]
    learnt = patch_network()
    other = network("tiny_vgg", classes=2, seed=7)
    maps = [
        Explainer(net, method)(images, [1] * len(images)).maps.reshape(len(images), -1)  # type: ignore[arg-type]
        for net in (learnt, other)
    ]
    alike = [
        np.corrcoef(a, b)[0, 1] if a.any() and b.any() else 0.0 for a, b in zip(*maps, strict=True)
    ]
    again = Explainer(learnt, method)(images, [1] * len(images)).maps  # type: ignore[arg-type]
    np.testing.assert_array_equal(maps[0], again.reshape(len(images), -1))
    assert np.mean(alike) < 0.8


def test_a_feature_map_of_one_position_is_refused() -> None:
    net = network("tiny_resnet", size=8)
    with pytest.raises(UsageError, match="single position"):
        Explainer(net)
    assert Explainer(net, "occlusion")(noise(1, 8)).maps.shape == (1, 8, 8)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(120, 200), (200, 120), (96, 96)])
def test_a_map_comes_back_to_where_it_was_in_the_photo(resize: Any, shape: tuple[int, int]) -> None:
    height, width = shape
    photo = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 18, width // 2 - 5
    photo[top : top + 24, left : left + 24] = 255
    spec = DecodeSpec(48, 64, resize)
    seen = decode_and_resize(tf.io.encode_png(photo), spec).numpy()[..., 0] / 255
    placed = place(seen, spec, width=width, height=height)
    where = photo[..., 0] == 255
    visible = ~np.isnan(placed)
    assert np.nanmean(placed[where]) > 0.85
    assert np.nanmean(placed[~where & visible]) < 0.05
    box = seen_box(spec, width, height)
    assert visible.sum() == (box.right - box.left) * (box.bottom - box.top)
    assert visible.all() == (resize != "crop" or shape[1] * 48 == shape[0] * 64)


def test_the_overlay_has_the_photos_size_and_shows_what_was_not_seen() -> None:
    photo = noise(1, 64)[0].astype(np.uint8)[:, :40]
    drawn = overlay(photo, np.eye(7, dtype=np.float32), DecodeSpec(32, 32, "crop"))
    assert drawn.shape == photo.shape and drawn.dtype == np.uint8
    colour = np.ptp(drawn.astype(int), axis=2)
    assert (colour[:12] == 0).all(), "unseen parts are grey"
    assert (colour[13:51].max(axis=1) > 20).any()


def test_photo_and_overlay_stand_side_by_side_at_the_photos_own_size() -> None:
    photo = noise(1, 300)[0].astype(np.uint8)
    words = {"title": "寿司 0.98 · $5.jpg " * 20, "subtitle": "Grad-CAM"}
    picture = np.asarray(
        side_by_side(photo, np.eye(7, dtype=np.float32), DecodeSpec(32, 32), **words)
    )
    top = next(row for row in range(len(picture)) if (picture[row, 12:312] == photo[0]).all())
    np.testing.assert_array_equal(picture[top : top + 300, 12:312], photo)
    assert (picture[:, :6] == 255).all() and (picture[:, -6:] == 255).all(), "words are cut off"
    assert (picture[:top] < 100).any() and (picture[top + 300 :] < 100).any()


def test_a_small_photo_is_enlarged_by_a_whole_factor() -> None:
    photo = noise(1, 28)[0].astype(np.uint8)
    picture = side_by_side(
        photo, np.eye(7, dtype=np.float32), DecodeSpec(28, 28), title="7", subtitle=""
    )
    pixels = np.asarray(picture)
    assert any(
        (pixels[row, 12 : 12 + 28 * 8] == photo[0].repeat(8, axis=0)).all() for row in range(90)
    )
