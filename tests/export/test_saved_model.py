"""The outputs of an exported SavedModel, and that a failed export leaves nothing."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tests.conftest import unless_thorough
from tests.export.tiny_classifier import NAMES, SPEC, encoded, export, tiny_model
from tltool.data.decoding.decode import decode_batch
from tltool.errors import EnvironmentProblem, GateError
from tltool.export.parity import reference_probabilities
from tltool.export.saved_model import Contents, export_saved_model
from tltool.export.warmup import WARMUP_FILE


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(scope="module", name="served")
def _served(exported: Path) -> Any:
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module", name="hot")
def _hot(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An export with a temperature and two of three classes by name."""
    base = tmp_path_factory.mktemp("saved_models") / "hot"
    return tf.saved_model.load(str(export(model, base, temperature=4.0, top_k=2)))


@pytest.fixture(scope="module", name="mixed")
def _mixed() -> keras.Model:
    return tiny_model("mixed_bfloat16")


@pytest.fixture(scope="module", name="of_mixed")
def _of_mixed(mixed: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An export of a model of mixed precision, with more classes by name than there are."""
    base = tmp_path_factory.mktemp("saved_models") / "mixed"
    return tf.saved_model.load(str(export(mixed, base, top_k=9)))


def predict(served: Any, images: list[bytes]) -> dict[str, np.ndarray]:
    outputs = served.signatures["serving_default"](image_bytes=tf.constant(images, tf.string))
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_for_bytes_equal_the_models(served: Any, model: keras.Model, count: int) -> None:
    images = [encoded(seed, size=(50 + seed, 40), kind="JPEG") for seed in range(count)]
    outputs = predict(served, images)
    arrays = decode_batch(tf.constant(images), SPEC)[0].numpy()
    expected = reference_probabilities(model, arrays)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
    best = expected.argmax(axis=1)
    assert outputs["class_id"].tolist() == best.tolist()
    assert [name.decode() for name in outputs["class_name"]] == [NAMES[i] for i in best]
    np.testing.assert_array_equal(outputs["confidence"], outputs["probabilities"].max(axis=1))
    assert outputs["ok"].all()


@pytest.mark.parametrize("junk", [b"", b"no image", encoded(0)[:60]], ids=["empty", "text", "cut"])
def test_one_bad_item_is_not_ok_and_the_others_are_predicted(served: Any, junk: bytes) -> None:
    alone = predict(served, [encoded(1), encoded(2)])
    mixed = predict(served, [encoded(1), junk, encoded(2)])
    assert mixed["ok"].tolist() == [True, False, True]
    np.testing.assert_allclose(mixed["probabilities"][[0, 2]], alone["probabilities"], atol=1e-6)
    np.testing.assert_allclose(mixed["probabilities"][1], 1 / 3)
    assert mixed["class_name"][1] == b"" and mixed["class_id"][1] == -1
    assert mixed["confidence"][1] == pytest.approx(1 / 3)


def test_the_images_signature_returns_the_same_without_ok(served: Any, model: keras.Model) -> None:
    arrays = np.random.default_rng(0).uniform(0, 255, (5, 20, 16, 3)).astype(np.float32)
    outputs = served.signatures["images"](images=tf.constant(arrays))
    expected = reference_probabilities(model, arrays)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
    assert set(outputs) == {"class_name", "class_id", "confidence", "probabilities"}


def test_signatures_have_the_names_and_types_that_servers_show(served: Any) -> None:
    bytes_signature = served.signatures["serving_default"]
    assert bytes_signature.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec([None], tf.string, "image_bytes")
    }
    outputs = {
        name: (spec.dtype.name, spec.shape.as_list())
        for name, spec in bytes_signature.structured_outputs.items()
    }
    assert outputs == {
        "class_name": ("string", [None]),
        "class_id": ("int64", [None]),
        "confidence": ("float32", [None]),
        "probabilities": ("float32", [None, 3]),
        "ok": ("bool", [None]),
    }
    assert list(served.signatures["images"].structured_input_signature[1]) == ["images"]


@pytest.mark.parametrize("operation", ["DecodeBmp", "Conv2D", "DivNoNan"])
def test_all_signatures_share_one_graph(exported: Path, operation: str) -> None:
    """The one that decodes, the network, and the heat map of a class."""
    saved = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    sharing = [one for one in functions if any(node.op == operation for node in one.node_def)]
    assert len(sharing) == 1


@pytest.mark.parametrize(
    ("name", "count"), unless_thorough([("hot", 2), ("of_mixed", 3)], ("hot", 2))
)
def test_the_top_k_classes_are_returned_by_name(
    request: pytest.FixtureRequest, name: str, count: int
) -> None:
    served = request.getfixturevalue(name)
    outputs = predict(served, [encoded(1), b"junk", encoded(2)])
    order = (-outputs["probabilities"][[0, 2]]).argsort(axis=1, kind="stable")[:, :count]
    names = [[NAMES[index].encode() for index in row] for row in order]
    assert outputs["top_class_names"][[0, 2]].tolist() == names
    np.testing.assert_array_equal(
        outputs["top_probabilities"][[0, 2]],
        np.take_along_axis(outputs["probabilities"][[0, 2]], order, axis=1),
    )
    assert outputs["top_class_names"][1].tolist() == [b""] * count
    np.testing.assert_allclose(outputs["top_probabilities"][1], 1 / 3)
    pixels = decode_batch(tf.constant([encoded(1)]), SPEC)[0]
    same = served.signatures["images"](images=pixels)["top_class_names"].numpy()
    assert same.tolist() == names[:1]


def test_class_names_decode_spec_and_metadata_are_assets(exported: Path) -> None:
    assets = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (exported / "assets").iterdir()
    }
    assert assets["class_names.json"] == NAMES
    assert assets["decode.json"] == SPEC.to_json()
    assert assets["metadata.json"]["run"] == "tiny-1"
    assert (exported / WARMUP_FILE).stat().st_size > 500


def test_an_export_contains_no_path_of_this_machine(exported: Path) -> None:
    for path in exported.rglob("*"):
        if path.is_file():
            assert str(Path(__file__).parents[2]).encode() not in path.read_bytes(), path


def test_a_temperature_above_1_softens_the_probabilities(hot: Any, model: keras.Model) -> None:
    arrays = decode_batch(tf.constant([encoded(1)]), SPEC)[0].numpy()
    expected = reference_probabilities(model, arrays, temperature=4.0)
    np.testing.assert_allclose(predict(hot, [encoded(1)])["probabilities"], expected, atol=1e-6)


def test_a_model_of_mixed_precision_is_exported_in_float32(
    mixed: keras.Model, of_mixed: Any
) -> None:
    float32 = tiny_model()
    float32.set_weights(mixed.get_weights())
    arrays = decode_batch(tf.constant([encoded(1), encoded(2)]), SPEC)[0].numpy()
    expected = reference_probabilities(float32, arrays)
    outputs = predict(of_mixed, [encoded(1), encoded(2)])
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
    assert mixed.layers[1].compute_dtype == "bfloat16", "the trained model was changed"


def test_a_second_export_is_the_next_version(model: keras.Model, tmp_path: Path) -> None:
    assert [export(model, tmp_path).name for _ in range(2)] == ["1", "2"]


class AlwaysNoisy(keras.layers.Layer):
    """A random layer without a training switch, such as keras-cv's augmentations."""

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return images + tf.random.uniform(tf.shape(images))


@pytest.mark.slow
def test_a_random_layer_fails_the_export_and_leaves_nothing(tmp_path: Path) -> None:
    images = keras.Input((20, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(AlwaysNoisy()(images))
    noisy = keras.Model(images, keras.layers.Dense(3)(pooled))
    with pytest.raises(GateError, match="RandomUniform"):
        export(noisy, tmp_path / "saved_models" / "noisy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [GateError("not the same"), KeyboardInterrupt()])
def test_an_error_of_verify_stops_the_export(
    model: keras.Model, tmp_path: Path, error: BaseException
) -> None:
    def fail(folder: Path) -> None:
        assert (folder / "saved_model.pb").is_file()
        raise error

    with pytest.raises(type(error)):
        export(model, tmp_path / "tiny", verify=fail)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_before_writing(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 5 * 2**20))
    with pytest.raises(EnvironmentProblem, match=r"disk is full.*5 MB are free") as problem:
        export(model, tmp_path / "tiny")
    assert "remove old versions" in (problem.value.hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "x.tempstate1; No space left on device"),
    ],
    ids=["system", "tensorflow"],
)
def test_a_disk_that_fills_up_is_an_error_in_one_sentence(
    model: keras.Model, tmp_path: Path, error: Exception
) -> None:
    def fill(folder: Path) -> None:
        raise error

    with pytest.raises(EnvironmentProblem, match="disk is full"):
        export(model, tmp_path / "tiny", verify=fill)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_an_error_in_one_sentence(
    model: keras.Model, tmp_path: Path
) -> None:
    (tmp_path / "tiny").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(model, tmp_path / "tiny")


def test_class_names_that_do_not_match_the_model_are_an_error(
    model: keras.Model, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="do not match"):
        export_saved_model(
            Contents(model, class_names=["a", "b"], decode=SPEC, metadata={}),
            tmp_path,
            verify=lambda folder: None,
        )
