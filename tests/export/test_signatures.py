"""Further properties of the SavedModel: images of any size, features, CPU placement, the seal."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from tests.conftest import unless_thorough
from tests.export.tiny_classifier import SPEC, encoded
from tests.fork_server import ForkServer
from tltool.data.decoding.decode import decode_batch
from tltool.data.decoding.decode_spec import Resize
from tltool.errors import DataError, GateError
from tltool.export.any_size import to_model_size
from tltool.export.seal import SEAL_FILE, check_seal, write_seal

# of the data set that decodes a batch; what runs inside it can only run on the CPU
OUTER_OPS = ("TensorSliceDataset", "ParallelInterleaveDatasetV4", "DatasetToSingleElement")


@pytest.fixture(scope="module", name="served")
def _served(exported: Path) -> Any:
    return tf.saved_model.load(str(exported))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)), np.float32)


@pytest.mark.parametrize("resize", unless_thorough(["squash", "crop", "pad"], "crop"))
@pytest.mark.parametrize("size", [(50, 31), (7, 90), (16, 20), (1, 1)])
def test_images_of_any_size_are_resized_as_decoding_does(
    resize: Resize, size: tuple[int, int]
) -> None:
    spec = dataclasses.replace(SPEC, resize=resize)
    contents = [encoded(seed, size=size) for seed in range(3)]
    resized = tf.function(to_model_size)(np.stack([pixels(one) for one in contents]), spec)
    np.testing.assert_array_equal(resized, decode_batch(tf.constant(contents), spec)[0])


def test_images_of_the_models_size_are_bit_identical() -> None:
    images = np.random.default_rng(0).normal(0, 1e3, (4, 20, 16, 3)).astype(np.float32)
    unknown = tf.TensorSpec((None, None, None, 3), tf.float32)
    resize = tf.function(lambda batch: to_model_size(batch, SPEC), input_signature=[unknown])
    np.testing.assert_array_equal(resize(images), images)


def test_the_images_signature_takes_any_size(served: Any) -> None:
    contents = [encoded(seed, size=(64, 48)) for seed in range(2)]
    from_images = served.signatures["images"](images=tf.stack([pixels(one) for one in contents]))
    from_bytes = served.signatures["serving_default"](image_bytes=tf.constant(contents))
    np.testing.assert_allclose(from_images["probabilities"], from_bytes["probabilities"], atol=1e-6)


def test_features_are_the_input_of_the_head(served: Any, model: keras.Model) -> None:
    contents = [encoded(1), b"junk", encoded(2)]
    outputs = served.signatures["features"](image_bytes=tf.constant(contents))
    assert outputs["ok"].numpy().tolist() == [True, False, True]
    images, _ = decode_batch(tf.constant(contents), SPEC)
    expected = keras.Model(model.input, model.layers[-2].output)(images, training=False).numpy()
    expected[1] = 0
    np.testing.assert_allclose(outputs["features"], expected, atol=1e-5)


def test_decoding_is_pinned_to_the_cpu(exported: Path) -> None:
    document = saved_model_pb2.SavedModel()
    document.ParseFromString((exported / "saved_model.pb").read_bytes())
    functions = document.meta_graphs[0].graph_def.library.function
    pipeline = [
        node for function in functions for node in function.node_def if node.op in OUTER_OPS
    ]
    outermost = [node for node in pipeline if node.op == "DatasetToSingleElement"]
    assert outermost  # in the one function that all signatures call
    for node in pipeline:
        assert "CPU:0" in node.device, node.name


ALONE = """
import sys
import tensorflow as tf

tf.config.set_soft_device_placement(False)
model = tf.saved_model.load(sys.argv[1])
images = tf.constant([open(sys.argv[2], "rb").read(), b"junk"])
# operations that are not pinned run on the caller's device: on a GPU if there is one
device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
with tf.device(device):
    for name in ("serving_default", "features"):
        print(model.signatures[name](image_bytes=images)["ok"].numpy().tolist())
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_it_runs_without_soft_device_placement(
    exported: Path, tmp_path: Path, forked_tensorflow: ForkServer
) -> None:
    (tmp_path / "photo").write_bytes(encoded(1))
    done = forked_tensorflow.run(ALONE, str(exported), str(tmp_path / "photo"))
    assert done.stdout.splitlines() == ["[True, False]"] * 2, done.stderr


def test_the_seal_lists_missing_changed_and_added_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    with pytest.raises(DataError, match="cannot be verified"):
        check_seal(tmp_path)
    write_seal(tmp_path, {"format": "litert"})
    assert check_seal(tmp_path)["format"] == "litert"
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_text("B")
    (tmp_path / "d").write_text("d")
    with pytest.raises(GateError, match=r"a is missing; b has changed .*; d was added"):
        check_seal(tmp_path)
    (tmp_path / SEAL_FILE).write_text("{}")
    with pytest.raises(GateError, match="cannot be read"):
        check_seal(tmp_path)
