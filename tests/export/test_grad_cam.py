"""The signatures that return Grad-CAM heat maps."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.export.tiny_classifier import NAMES, SPEC, encoded, map_of
from tltool.data.decoding.decode import decode_batch
from tltool.export.saved_model import Contents, export_saved_model


@pytest.mark.thorough
def test_heat_maps_are_grad_cams_of_the_predicted_class(exported: Path, model: keras.Model) -> None:
    contents = [encoded(1), b"junk", encoded(2)]
    loaded = tf.saved_model.load(str(exported))
    outputs = loaded.signatures["explain"](image_bytes=tf.constant(contents))
    assert outputs["ok"].numpy().tolist() == [True, False, True]
    images, _ = decode_batch(tf.constant(contents), SPEC)
    maps = keras.Model(model.input, map_of(model))(images, training=False).numpy()
    predicted = model(images, training=False).numpy().argmax(axis=1)
    inputs = {"image_bytes": tf.constant(contents), "class_id": tf.constant([0, 1, -1], tf.int64)}
    for_classes = loaded.signatures["explain_class"](**inputs)["heatmap"]
    check_maps(outputs["heatmap"], maps, model, predicted)
    check_maps(for_classes, maps, model, np.array([0, 1, predicted[2]]))


def check_maps(
    heat_maps: tf.Tensor, maps: np.ndarray, model: keras.Model, classes: np.ndarray
) -> None:
    # after global average pooling and a dense layer, the gradients are the kernel's columns
    kernel = model.layers[-1].kernel.numpy()[:, classes].T
    heat = np.maximum(np.einsum("bhwk,bk->bhw", maps, kernel), 0)
    heat /= np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    heat[1] = 0
    np.testing.assert_allclose(heat_maps, heat, atol=1e-4)
    assert heat_maps.shape == (3, 18, 14)


def test_without_a_map_there_is_no_such_signature(model: keras.Model, tmp_path: Path) -> None:
    contents = Contents(model, class_names=NAMES, decode=SPEC, metadata={})
    folder = export_saved_model(contents, tmp_path / "plain", verify=lambda folder: None)
    assert set(tf.saved_model.load(str(folder)).signatures) == {"serving_default", "images"}
