"""The outputs of KerasCV's operations, as they were with KerasCV 0.9.0 and TensorFlow 2.21.

A failure means that a new version changed an operation: augmented images, and therefore results of
the same recipe and seed, would differ. An implementation that replaces KerasCV must pass too.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tltool.augment.keras_cv_operations import (
    DropPath,
    FactorSampler,
    RandomCropAndResize,
    RandomCutout,
    fill_rectangle,
)


class Half(FactorSampler):
    """A factor that is always 0.5."""

    def __call__(self, shape=(), dtype="float32"):
        return tf.fill(shape, tf.constant(0.5, dtype))


def image() -> tf.Tensor:
    """Return an image of 4 x 5 pixels: 0, 10, 20, … in rows, the same in each channel."""
    grey = tf.reshape(10.0 * tf.range(20, dtype=tf.float32), (4, 5, 1))
    return tf.repeat(grey, 3, axis=-1)


def test_a_crop_is_resized_bilinearly():
    layer = RandomCropAndResize((3, 3), Half(), Half(), seed=1, dtype="float32")
    box = tf.constant([[0.0, 0.2, 0.5, 0.8]])  # top, left, bottom, right as fractions
    cropped = layer.augment_image(image(), transformation=box)
    expected = [[8, 20, 32], [45.5, 57.5, 69.5], [83, 95, 107]]
    np.testing.assert_allclose(cropped[..., 0], expected, atol=1e-4)
    np.testing.assert_array_equal(cropped[..., 0], cropped[..., 2])


def test_the_box_of_a_crop_follows_from_area_and_aspect_ratio():
    layer = RandomCropAndResize((3, 3), Half(), Half(), seed=1, dtype="float32")

    class Middle:
        def uniform(self, shape, minval=0.0, maxval=1.0, dtype="float32"):
            return tf.fill(shape, 0.5 * (minval + maxval))

    layer._random_generator = Middle()
    np.testing.assert_allclose(layer.get_random_transformation()[0], [0, 0.25, 1, 0.75], atol=1e-6)


def test_cutout_fills_a_rectangle():
    layer = RandomCutout(Half(), Half(), fill_value=7.0, seed=1, dtype="float32")
    rectangle = {
        "centers_x": tf.constant([2]),
        "centers_y": tf.constant([1]),
        "rectangles_height": tf.constant([2]),
        "rectangles_width": tf.constant([3]),
    }
    hidden = layer.augment_images(image()[tf.newaxis], rectangle)[0, ..., 0]
    expected = image()[..., 0].numpy()
    expected[0:2, 1:4] = 7
    np.testing.assert_array_equal(hidden, expected)


def test_a_rectangle_beyond_the_border_is_clipped():
    images, filling = image()[tf.newaxis], tf.fill((1, 4, 5, 3), -1.0)
    place = (tf.constant([0]), tf.constant([3]), tf.constant([3]), tf.constant([3]))
    filled = fill_rectangle(images, *place, filling)[0, ..., 0]
    expected = image()[..., 0].numpy()
    expected[2:4, 0:2] = -1
    np.testing.assert_array_equal(filled, expected)


def test_drop_path_drops_whole_samples_by_its_seed():
    layer = DropPath(0.5, seed=3)
    kept = layer(tf.ones((8, 2)), training=True).numpy()
    np.testing.assert_array_equal(kept[:, 0], [0, 2, 2, 2, 0, 0, 0, 0])
    np.testing.assert_array_equal(kept[:, 0], kept[:, 1])
    np.testing.assert_array_equal(layer(tf.ones((8, 2)), training=False), np.ones((8, 2)))


def test_a_factor_sampler_is_what_the_layers_accept():
    assert isinstance(Half(), FactorSampler)
    layer = RandomCutout(Half(), Half(), seed=1)
    places = layer.get_random_transformation_batch(1, images=tf.zeros((1, 4, 6, 3)))
    assert (int(places["rectangles_height"][0]), int(places["rectangles_width"][0])) == (2, 3)
