"""Settings of other programs never change a network, and are found again afterwards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFile

from tests.conftest import unless_thorough
from tltool.data.decoding.image_errors import DamagedError
from tltool.data.decoding.transcode import transcode
from tltool.errors import EnvironmentProblem
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.runs.keras_setup import KERAS_SETTINGS
from tltool.training.own_settings import own_settings, with_own_settings


def numbers() -> np.ndarray:
    """Return the outputs of a new network, as a run computes them."""
    model = build_model(
        get_backbone("tiny_resnet"),
        image_size=(32, 32),
        classes=3,
        head="gap",
        dropout=0.0,
        hidden_units=0,
        norm="none",
        weights=None,
        seed=1,
    )
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    outputs = tf.function(lambda pixels: model(pixels, training=False))(images)
    assert model.variables[0].dtype == "float32"
    return np.asarray(outputs)


def settings() -> dict[str, Any]:
    optimizer = tf.config.optimizer
    return {
        "image_data_format": keras.config.image_data_format(),
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "dtype_policy": keras.config.dtype_policy().name,
        "eager": tf.config.functions_run_eagerly(),
        "jit": optimizer.get_jit(),
        "mixed": optimizer.get_experimental_options().get("auto_mixed_precision", False),
        "no optimizer": optimizer.get_experimental_options().get("disable_meta_optimizer", False),
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "numpy": np.geterr(),
        "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
        "pixels": Image.MAX_IMAGE_PIXELS,
    }


def optimizer_option(name: str, value: bool) -> None:
    tf.config.optimizer.set_experimental_options({name: value})


CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "channels_first": (
        lambda: keras.config.set_image_data_format("channels_first"),
        lambda: keras.config.set_image_data_format("channels_last"),
    ),
    "floatx": (
        lambda: keras.config.set_floatx("float16"),
        lambda: keras.config.set_floatx("float32"),
    ),
    "epsilon": (lambda: keras.config.set_epsilon(1e-2), lambda: keras.config.set_epsilon(1e-7)),
    "mixed_float16": (
        lambda: keras.config.set_dtype_policy("mixed_float16"),
        lambda: keras.config.set_dtype_policy("float32"),
    ),
    "float64": (
        lambda: keras.config.set_dtype_policy("float64"),
        lambda: keras.config.set_dtype_policy("float32"),
    ),
    "eager functions": (
        lambda: tf.config.run_functions_eagerly(True),
        lambda: tf.config.run_functions_eagerly(False),
    ),
    "jit": (
        lambda: tf.config.optimizer.set_jit("autoclustering"),
        lambda: tf.config.optimizer.set_jit(False),
    ),
    "mixed precision of the graph": (
        lambda: optimizer_option("auto_mixed_precision", True),
        lambda: optimizer_option("auto_mixed_precision", False),
    ),
    "no graph optimizer": (
        lambda: optimizer_option("disable_meta_optimizer", True),
        lambda: optimizer_option("disable_meta_optimizer", False),
    ),
    "numpy raises": (
        lambda: np.seterr(all="raise"),
        lambda: np.seterr(divide="warn", over="warn", under="ignore", invalid="warn"),
    ),
}


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    with own_settings():
        return numbers()


@pytest.fixture
def changed(request):
    change, back = CHANGES[request.param]
    change()
    yield
    back()


@pytest.mark.parametrize(
    "changed", unless_thorough([*CHANGES], *[*CHANGES][:2], "numpy raises"), indirect=True
)
def test_a_setting_of_the_process_changes_no_number_and_is_found_again(expected, changed):
    before = settings()
    with own_settings():
        inside = settings()
        np.testing.assert_array_equal(numbers(), expected)
    assert settings() == before
    assert before != inside
    assert {name: inside[name] for name in inside if name in KERAS_SETTINGS} == {
        name: value for name, value in KERAS_SETTINGS.items() if name != "backend"
    }


def test_settings_come_back_after_an_error():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ZeroDivisionError), own_settings(), own_settings():
            raise ZeroDivisionError
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")


def test_threads_share_the_settings_until_the_last_one_leaves(expected):
    entered, leave = threading.Event(), threading.Event()
    seen: list[Any] = []

    def first():
        with own_settings():
            entered.set()
            leave.wait(30)

    def second():
        keras.config.set_dtype_policy("mixed_float16")  # Keras keeps the policy per thread
        with own_settings():
            leave.set()
            thread.join()
            seen.append((keras.config.image_data_format(), numbers()))
        seen.append(keras.config.dtype_policy().name)

    keras.config.set_image_data_format("channels_first")
    try:
        thread, other = threading.Thread(target=first), threading.Thread(target=second)
        thread.start()
        entered.wait(30)
        other.start()
        other.join()
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
    assert seen[0][0] == "channels_last"
    np.testing.assert_array_equal(seen[0][1], expected)
    assert seen[1] == "mixed_float16"


def test_random_numbers_of_the_caller_are_left_alone():
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    with own_settings():
        keras.utils.set_random_seed(0)
    assert (random.random(), np.random.rand()) == expected


def test_a_truncated_image_is_damaged_also_where_pillow_was_told_to_accept_it(
    monkeypatch, tmp_path
):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    image.save(tmp_path / "x.tif", compression="tiff_lzw")
    data = (tmp_path / "x.tif").read_bytes()
    cut = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with own_settings(), pytest.raises(DamagedError):
        transcode(cut, name="x.tif")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_graph_or_a_strategy_of_the_caller_is_one_sentence():
    with tf.Graph().as_default(), pytest.raises(EnvironmentProblem, match="TensorFlow graph"):
        with_own_settings(len)([])
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope(), pytest.raises(EnvironmentProblem, match=r"tf\.distribute"):
        with_own_settings(len)([])
    assert with_own_settings(len)([1, 2]) == 2


PROGRAM = """
import json, sys
{before}
import tltool
try:
    from tltool.errors import TltoolError
    tltool.predict
except TltoolError as error:
    print(type(error).__name__, error.message)
    sys.exit(error.exit_code)
from tltool.training.own_settings import current_settings, own_settings
with own_settings():
    import tensorflow as tf
    print(json.dumps([current_settings(), tf.keras.__version__[0]]))
"""


def run_program(tmp_path, before: str = "", config: str | None = None, **variables: str):
    if config is not None:
        (tmp_path / ".keras").mkdir()
        (tmp_path / ".keras" / "keras.json").write_text(config)
    inherited = {n: v for n, v in os.environ.items() if n not in ("KERAS_BACKEND", "KERAS_HOME")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        env={**inherited, "HOME": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


FIRST = json.dumps({"image_data_format": "channels_first", "floatx": "float16", "backend": "jax"})


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variables", "config"),
    [
        (
            {"KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1", "KERAS_MAX_EPOCHS": "many"},
            FIRST,
        ),
        pytest.param({}, "{broken", marks=pytest.mark.thorough),
    ],
)
def test_variables_and_the_file_of_another_project_do_not_matter(tmp_path, variables, config):
    result = run_program(tmp_path, config=config, **variables)
    assert json.loads(result.stdout or "0") == [dict(KERAS_SETTINGS), "3"], result.stderr


@pytest.mark.thorough
def test_keras_with_another_backend_in_the_process_is_one_sentence(tmp_path):
    result = run_program(
        tmp_path, "import os; os.environ['KERAS_BACKEND'] = 'openvino'; import keras"
    )
    assert result.returncode == 5, result.stderr
    assert "has imported Keras with the backend openvino" in result.stdout


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"floatx": "bfloat16"}', "floatx is 'bfloat16', not one of float16"),
        ('{"image_data_format": "NCHW"}', "image_data_format is 'NCHW'"),
        ('{"epsilon": 0}', "epsilon is 0, not a decimal number"),
        ("[]", "it is not a JSON object"),
    ],
)
def test_a_configuration_that_keras_rejects_is_one_sentence(tmp_path, config, expected):
    result = run_program(tmp_path, config=config)
    assert result.returncode == 5, result.stderr
    assert f"keras.json': {expected}" in result.stdout
