"""Exports in other programs: saved_model_cli, LiteRT, ONNX Runtime, OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.export.tiny_classifier import tiny_model
from tests.fork_server import ForkServer
from tltool.export.convert import with_probabilities, write_converted
from tltool.export.export_formats import FORMATS
from tltool.export.parity import reference_probabilities
from tltool.models.backbone_registry import PreprocessMode
from tltool.models.head_parts import for_standardized, set_statistics
from tltool.models.preprocessing import preprocessed

TEMPERATURE = 1.7
ARRAYS = np.random.default_rng(0).uniform(0, 255, (5, 20, 16, 3)).round().astype(np.float32)


@pytest.fixture(scope="module", name="expected")
def _expected() -> np.ndarray:
    return reference_probabilities(tiny_model(), ARRAYS, temperature=TEMPERATURE)


@pytest.fixture(scope="module", name="converted")
def _converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("converted")

    def write(name: str) -> Path:
        path = folder / f"{name}-{FORMATS[name].file}"
        if not path.exists():
            write_converted(
                path, FORMATS[name], tiny_model(), temperature=TEMPERATURE, calibration=ARRAYS
            )
        return path

    return write


def saved_model_cli(server: ForkServer, *arguments: str) -> str:
    program = "from tensorflow.python.tools.saved_model_cli import main; main()"
    done = server.run(program, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs_the_export(
    forked_tensorflow: ForkServer, exported: Path, tmp_path: Path
) -> None:
    shown = saved_model_cli(forked_tensorflow, "show", "--dir", str(exported), "--all")
    for name in ("serving_default", "images", "features"):
        assert f"signature_def['{name}']" in shown
    np.save(tmp_path / "images.npy", ARRAYS)
    inputs = ("--inputs", f"images={tmp_path / 'images.npy'}", "--outdir", str(tmp_path))
    output = saved_model_cli(
        forked_tensorflow, "run", "--dir", str(exported), "--tag_set", "serve",
        "--signature_def", "images", *inputs,
    )  # fmt: skip
    assert "probabilities" in output
    expected = reference_probabilities(tiny_model(), ARRAYS)
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "tolerance"), [("litert", 1e-5), ("litert-fp16", 1e-3)])
def test_litert_predicts_one_image_by_input_name(
    converted: Callable[[str], Path], expected: np.ndarray, name: str, tolerance: float
) -> None:
    runner = interpreter(converted(name)).get_signature_runner()
    for array, row in zip(ARRAYS, expected, strict=True):
        probabilities = runner(images=array[np.newaxis])["probabilities"][0]
        np.testing.assert_allclose(probabilities, row, atol=tolerance)


def test_litert_int8_takes_the_pixel_bytes_of_a_decoder(
    converted: Callable[[str], Path], expected: np.ndarray
) -> None:
    model = interpreter(converted("litert-int8"))
    entry, end = model.get_input_details()[0], model.get_output_details()[0]
    assert entry["dtype"] == np.uint8 and entry["quantization"] == (1.0, 0)
    assert end["dtype"] == np.uint8 and end["quantization"] == (1 / 256, 0)
    kinds = {detail["dtype"] for detail in model.get_tensor_details()}
    assert not kinds & {np.float32, np.float16}, "not all tensors are integers"
    model.allocate_tensors()
    for array, row in zip(ARRAYS, expected, strict=True):
        model.set_tensor(entry["index"], array[np.newaxis].astype(np.uint8))
        model.invoke()
        np.testing.assert_allclose(model.get_tensor(end["index"])[0] / 256, row, atol=0.03)


@pytest.mark.parametrize("mode", ["caffe", "torch"])
def test_int8_keeps_the_colours_if_preprocessing_reverses_the_channels(
    tmp_path: Path, mode: PreprocessMode
) -> None:
    """A ReverseV2 in the graph came out with the wrong scale: every image far too dark."""
    generator = np.random.default_rng(2)
    photos = np.clip(
        generator.uniform(0, 255, (6, 1, 1, 3)) + generator.normal(0, 20, (6, 20, 16, 3)), 0, 255
    ).astype(np.float32)
    keras.utils.set_random_seed(3)
    images = keras.Input((20, 16, 3))
    flow = keras.layers.Conv2D(8, 3, activation="relu")(preprocessed(images, mode))
    flow = keras.layers.GlobalAveragePooling2D()(flow)
    scale = 0.02 if mode == "caffe" else 1.0
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.Rescaling(scale)(flow)))
    path = tmp_path / "model.tflite"
    write_converted(path, FORMATS["litert-int8"], model, temperature=1.0, calibration=photos)
    reader = interpreter(path)
    reader.allocate_tensors()
    entry, end = (
        one[0]["index"] for one in (reader.get_input_details(), reader.get_output_details())
    )
    expected = reference_probabilities(model, photos.round())
    assert np.ptp(expected, axis=0).max() > 0.3, "the model ignores colours"
    for photo, row in zip(photos, expected, strict=True):
        reader.set_tensor(entry, photo[np.newaxis].round().astype(np.uint8))
        reader.invoke()
        np.testing.assert_allclose(reader.get_tensor(end)[0] / 256, row, atol=0.03)


@pytest.mark.parametrize("standardized", [False, True])
def test_int8_keeps_small_weights_next_to_one_that_is_100_times_larger(
    tmp_path: Path, standardized: bool
) -> None:
    """A linear probe gives such a weight to a feature that is almost always zero."""
    generator = np.random.default_rng(4)
    photos = generator.uniform(0, 255, (8, 1, 1, 3)) * np.ones((8, 6, 6, 3)) * [1, 1, 0.01]
    photos = photos.round().astype(np.float32)
    images = keras.Input((6, 6, 3))
    flow = keras.layers.Rescaling(1 / 255)(images)
    flow = keras.layers.GlobalAveragePooling2D()(flow)
    kernel, bias = np.outer([2, -2, 500], [1, -1]), np.zeros(2)
    norm = keras.layers.BatchNormalization(center=False, scale=False, name="head_standardize")
    if standardized:
        flow = keras.layers.Dropout(0.2)(norm(flow))
    model = keras.Model(images, keras.layers.Dense(2)(flow))
    if standardized:
        set_statistics(norm, (photos / 255).mean(axis=(1, 2)))
        kernel, bias = for_standardized(norm, kernel, bias)
    model.layers[-1].set_weights([kernel, bias])
    path = tmp_path / "model.tflite"
    write_converted(path, FORMATS["litert-int8"], model, temperature=1.0, calibration=photos)
    runner = interpreter(path).get_signature_runner()
    expected = reference_probabilities(model, photos)
    for photo, row in zip(photos, expected, strict=True):
        probabilities = runner(images=photo[np.newaxis].astype(np.uint8))["probabilities"][0] / 256
        np.testing.assert_allclose(probabilities, row, atol=0.03)


def interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path))


def test_onnx_runtime_takes_any_batch_size(
    converted: Callable[[str], Path], expected: np.ndarray
) -> None:
    import onnx
    import onnxruntime

    path = converted("onnx")
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["images"]
    for count in (1, 5):
        probabilities = session.run(["probabilities"], {"images": ARRAYS[:count]})[0]
        np.testing.assert_allclose(probabilities, expected[:count], atol=1e-5)


def test_openvino_reads_the_onnx_file(
    converted: Callable[[str], Path], expected: np.ndarray
) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32"}  # by default it uses bfloat16 if available
    compiled = core.compile_model(core.read_model(str(converted("onnx"))), "CPU", precise)
    probabilities = compiled({"images": ARRAYS})["probabilities"]
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_openvino_reads_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    import openvino

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    path = tmp_path / "model.xml"
    write_converted(path, FORMATS["openvino"], tiny_model(), temperature=1.7, calibration=None)
    assert {one.name for one in tmp_path.iterdir()} == {"home", "model.xml", "model.bin"}
    assert not list((tmp_path / "home").iterdir()), "telemetry has been prepared"
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 5):
        probabilities = compiled({"images": ARRAYS[:count]})["probabilities"]
        np.testing.assert_allclose(probabilities, expected[:count], atol=1e-5)


def test_the_keras_file_needs_no_custom_layer(
    converted: Callable[[str], Path], expected: np.ndarray
) -> None:
    model = keras.saving.load_model(converted("keras"), compile=False, safe_mode=True)
    np.testing.assert_allclose(model(ARRAYS, training=False), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch", "lite", "unit", "grey", "none"])
def test_preprocessing_becomes_a_convolution(mode: PreprocessMode) -> None:
    images = keras.Input((20, 16, 3))
    flow = keras.layers.GlobalAveragePooling2D()(preprocessed(images, mode))
    model = keras.Model(images, keras.layers.Dense(3)(flow))
    portable = with_probabilities(model, 2.0)
    assert isinstance(portable.get_layer("preprocess"), keras.layers.Conv2D)
    expected = reference_probabilities(model, ARRAYS, temperature=2.0)
    np.testing.assert_allclose(portable(ARRAYS, training=False), expected, atol=2e-5)
