"""A layer or a function of the user's as an augmentation: the seed decides, or it is noticed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.augment.augmenter import Augmenter
from tltool.augment.own_augmentation import own_transform
from tltool.augment.spec import AugmentSpec
from tltool.errors import UsageError

SIZE = (16, 12)
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, *SIZE, 3)).astype(np.float32)


class Noise(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.random.SeedGenerator(3)

    def call(self, images):
        noise = keras.random.normal(keras.ops.shape(images), seed=self.generator)
        return images + 9 * noise + keras.random.normal((1,))  # and one without a generator


def darker(image, seed):
    factor = tf.random.stateless_uniform((), seed, 0.5, 1.0)
    if factor > 0.75:  # as in tf.data, conditions on tensors work
        image = tf.reverse(image, [1])
    return image * factor


def epoch(spec: AugmentSpec, number: int, *, order: tuple[int, ...] = (0, 1, 2, 3)) -> np.ndarray:
    """Return the images of an epoch, in the order of their numbers, on one or several threads."""
    rows = list(order)
    images = tf.data.Dataset.from_tensor_slices(
        (np.array(rows, np.int64), IMAGES[rows], np.ones((4, 2), np.float32))
    )
    batches = Augmenter(spec, SIZE).batches(images, key=tf.constant([7, number]), batch_size=3)
    found = [(index, image) for batch in batches for index, image in zip(*batch[:2], strict=True)]
    return np.stack([image.numpy() for _, image in sorted(found, key=lambda pair: int(pair[0]))])


@pytest.mark.parametrize(
    "augment",
    [
        keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.2)]),
        Noise(),
        darker,
    ],
    ids=["keras layers", "own layer", "function with a seed"],
)
def test_an_image_of_an_epoch_is_always_changed_in_the_same_way(augment):
    own = own_transform(augment, SIZE)
    assert own.stateful == ()
    spec = AugmentSpec(own=own)
    first = epoch(spec, 1)
    np.testing.assert_array_equal(epoch(spec, 1, order=(2, 0, 3, 1)), first)
    assert (epoch(spec, 2) != first).any(axis=(1, 2, 3)).sum() >= 3
    assert not spec.identity


def test_numbers_without_the_seed_are_noticed():
    own = own_transform(lambda image: image + tf.random.uniform(()), SIZE)
    assert own.stateful == ("RandomUniform",)
    assert own_transform(
        lambda image: tf.numpy_function(np.flip, [image], tf.float32), SIZE
    ).stateful


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (3, "augment= is of type int"),
        (lambda image: image / 255, "returns pixels from 0"),
        (lambda image: image[:8], r"shape \[8, 12, 3\]"),
        (lambda image: image @ image, "fails on an image of 16 x 12 pixels"),
    ],
    ids=["no function", "range", "shape", "error"],
)
def test_what_makes_no_image_is_refused(augment, message):
    with pytest.raises(UsageError, match=message):
        own_transform(augment, SIZE)


def test_two_functions_never_share_a_cache():
    one, other = (AugmentSpec(own=own_transform(darker, SIZE)) for _ in range(2))
    assert one.to_json() != other.to_json()
