"""A Keras model file as the backbone: read without its code, cut by resolution, copied exactly."""

from __future__ import annotations

import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import unless_thorough
from tltool.errors import UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.batch_norm_folding import folded
from tltool.models.build import BUILDERS, build_model
from tltool.models.network_parts import Network
from tltool.models.own_backbone import read_own_backbone

SIDE = 32


def conv(x: Any, filters: int, *, strides: int = 1, name: str | None = None) -> Any:
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False, name=name)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def residual_model(side: int | None = SIDE) -> keras.Model:
    """Return a model with a frozen model inside, an addition without a layer, and augmentation."""
    keras.utils.set_random_seed(3)
    images = keras.Input((side, side, 3))
    x = layers.RandomFlip(seed=1)(layers.Rescaling(1 / 255)(images))
    entry = keras.Input((side, side, 3))
    stem = keras.Model(entry, layers.MaxPooling2D()(conv(entry, 8)), name="stem")
    stem.trainable = False
    x = stem(x, training=False)
    branch = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = branch + layers.BatchNormalization()(branch)
    x = conv(layers.MaxPooling2D()(layers.ReLU()(x)), 12)
    model = keras.Model(images, conv(x, 16, strides=2, name="head_last"), name="mine")
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):  # else its statistics do nothing
            layer.moving_mean.assign(rng.normal(0, 0.2, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
    return model


def saved(folder: Path, model: keras.Model, name: str = "mine.keras") -> Path:
    path = folder / name
    model.save(path)
    return path


def network(path: Path, *, side: int = SIDE, mode: Any = None, **options: Any) -> Network:
    backbone = read_own_backbone(path, mode, side=side)
    settings = {
        "image_size": (side, side), "classes": 3, "head": "gap", "dropout": 0.0,
        "hidden_units": 4, "norm": "none", "weights": path, "seed": 0,
    }  # fmt: skip
    return Network(build_model(backbone, **{**settings, **options}), backbone, "gap")


def images(side: int = SIDE, n: int = 4) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (n, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["tiny_vgg", pytest.param("resnet18", marks=pytest.mark.thorough)])
def test_the_stages_are_those_of_the_registry(name: str, tmp_path: Path) -> None:
    pixels = keras.Input((64, 64, 3))
    path = saved(tmp_path, keras.Model(pixels, BUILDERS[name](pixels)))

    found = read_own_backbone(path, "unit")

    expected = get_backbone(name)
    ends = [(stage.layer, stage.stride, stage.channels) for stage in expected.stages]
    assert [(stage.layer, stage.stride, stage.channels) for stage in found.stages] == ends
    assert found.sides(64) == expected.sides(64)
    assert found.parameters == expected.parameters


def test_a_widening_convolution_belongs_to_the_next_stage(tmp_path: Path) -> None:
    entry = keras.Input((SIDE, SIDE, 3))
    narrow = conv(entry, 4, strides=2)
    wide = layers.ReLU()(layers.Conv2D(24, 1, name="wide")(narrow))
    deep = layers.DepthwiseConv2D(3, strides=2, padding="same")(wide)
    path = saved(tmp_path, keras.Model(entry, layers.Conv2D(8, 1)(deep)))

    stages = read_own_backbone(path, "tf").stages

    assert [(stage.stride, stage.channels) for stage in stages] == [(2, 4), (4, 8)]


def test_no_stage_is_only_the_scaling_of_the_input(tmp_path: Path) -> None:
    entry = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(16, 3, padding="same")(layers.Rescaling(1 / 255)(entry))
    path = saved(tmp_path, keras.Model(entry, layers.Conv2D(8, 3, strides=2)(x)))

    assert [(one.stride, one.channels) for one in read_own_backbone(path).stages] == [
        (1, 16), (2, 8)
    ]  # fmt: skip


def test_the_copy_computes_what_the_file_does(tmp_path: Path) -> None:
    model = residual_model()
    mine = network(saved(tmp_path, model))

    features = keras.Model(mine.images, mine.model.get_layer(mine.backbone.stages[-1].layer).output)

    expected = np.asarray(model(images(), training=False))
    np.testing.assert_allclose(np.asarray(features(images())), expected, atol=1e-5)
    np.testing.assert_allclose(np.asarray(folded(features)(images())), expected, atol=1e-5)


@pytest.mark.parametrize("stage", ["stage2", "stage3"])
def test_trunk_and_tail_together_are_the_network(stage: str, tmp_path: Path) -> None:
    mine = network(saved(tmp_path, residual_model()))
    cut = mine.cut(stage)

    trunk, tail = keras.Model(mine.images, cut), keras.Model(cut, mine.model.output)

    together = np.asarray(tail(trunk(images())))
    np.testing.assert_allclose(together, np.asarray(mine.model(images())), atol=1e-6)


def test_layers_that_the_file_froze_are_trained_and_norms_are_not(tmp_path: Path) -> None:
    mine = network(saved(tmp_path, residual_model()))

    lowest = [variable.path for variable in mine.trained_from("stage1")[-1]]

    assert any("conv" in path and path.endswith("kernel") for path in lowest)
    before = [np.asarray(one) for one in mine.moving_statistics()]
    mine.model(images(), training=True)
    assert all((np.asarray(now) == then).all() for now, then in
               zip(mine.moving_statistics(), before, strict=True))  # fmt: skip


def test_random_weights_are_not_those_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, residual_model())

    first, second = (network(path, weights=None, seed=seed) for seed in (0, 0))

    assert first.digest() == second.digest() != network(path).digest()


def test_any_size_is_taken_where_the_layers_take_it(tmp_path: Path) -> None:
    path = saved(tmp_path, residual_model())

    assert network(path, side=48).backbone.sides(48) == [24, 12, 12, 6]
    assert read_own_backbone(path).image_size == SIDE


def test_a_whole_model_in_hdf5_is_read_too(tmp_path: Path) -> None:
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, BUILDERS["tiny_resnet"](pixels))

    mine = network(saved(tmp_path, model, "mine.h5"), side=64, mode="none")

    last = mine.model.get_layer(mine.backbone.stages[-1].layer).output
    features = keras.Model(mine.images, last)
    expected = np.asarray(model(images(64), training=False))
    np.testing.assert_allclose(np.asarray(features(images(64))), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scaled", [True, False])
def test_a_grey_model_sees_what_it_was_built_for(scaled: bool, tmp_path: Path) -> None:
    entry = keras.Input((SIDE, SIDE, 1))
    x = layers.Rescaling(1 / 255)(entry) if scaled else entry
    model = keras.Model(entry, conv(x, 8, strides=2))
    mine = network(saved(tmp_path, model))
    grey = images()[..., :1]

    features = keras.Model(mine.images, mine.model.get_layer(mine.backbone.stages[-1].layer).output)

    expected = np.asarray(model(grey if scaled else grey / 255, training=False))
    computed = np.asarray(features(np.repeat(grey, 3, axis=-1)))
    np.testing.assert_allclose(computed, expected, atol=1e-5)


def plain(**options: Any) -> keras.Model:
    entry = keras.Input(options.pop("shape", (SIDE, SIDE, 3)))
    return keras.Model(entry, conv(entry, 4, strides=2))


def with_head() -> keras.Model:
    body = plain()
    x = layers.GlobalAveragePooling2D()(body.output)
    return keras.Model(body.input, layers.Dense(5, activation="softmax", name="predictions")(x))


def two_inputs() -> keras.Model:
    one, two = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return keras.Model([one, two], layers.Add()([one, two]))


def shared_layer() -> keras.Model:
    entry = keras.Input((SIDE, SIDE, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="twice")
    return keras.Model(entry, twice(twice(entry)))


def channels_first() -> keras.Model:
    entry = keras.Input((3, SIDE, SIDE))
    return keras.Model(
        entry, layers.Rescaling(1.0)(layers.MaxPooling2D(data_format="channels_first")(entry))
    )


def fixed(shape: tuple[int, int, int] = (SIDE, SIDE, 3)) -> keras.Model:
    body = plain(shape=shape)
    maps = body.output.shape[1:3]
    x = layers.Dense(math.prod(maps))(layers.Flatten()(body.output))
    return keras.Model(body.input, layers.Reshape((*maps, 1))(x))


def with_lambda() -> keras.Model:
    entry = keras.Input((SIDE, SIDE, 3))
    return keras.Model(entry, conv(layers.Lambda(lambda x: x / 255, name="scale")(entry), 4))


def normalizes(mean: float) -> keras.Model:
    entry = keras.Input((SIDE, SIDE, 3))
    norm = layers.Normalization(mean=[mean] * 3, variance=[1.0] * 3, name="normal")
    return keras.Model(entry, conv(norm(entry), 4, strides=2))


REFUSED: dict[str, tuple[Callable[[], keras.Model], Any, int | None, str]] = {
    "head": (with_head, "tf", None, "'predictions' (Dense) of shape (5)"),
    "inputs": (two_inputs, "tf", None, "has 2 inputs"),
    "depth": (lambda: plain(shape=(SIDE, SIDE, 4)), "tf", None, "(32, 32, 4)"),
    "shared": (shared_layer, "tf", None, "'twice' at several places"),
    "first": (channels_first, "tf", None, "channels"),
    "fixed": (fixed, "tf", 48, "32 x 32 pixels only, not 48 x 48"),
    "lambda": (with_lambda, "tf", None, "the Lambda layer 'scale'"),
    "unscaled": (plain, None, None, "does not scale its input itself"),
    "unit norm": (lambda: normalizes(0.5), None, None, "does not scale its input itself"),
    "twice": (residual_model, "tf", None, "scale it a second time"),
    "byte norm": (lambda: normalizes(120.0), "unit", None, "in the layer 'normal'"),
    "colour": (plain, "grey", None, "takes colour images"),
    "grey": (lambda: plain(shape=(SIDE, SIDE, 1)), "tf", None, "takes greyscale images"),
    "oblong": (lambda: fixed((SIDE, 24, 3)), "tf", None, "32 x 24 pixels only"),
}


# Python looks for the source of a lambda in all modules, and so imports those that TensorFlow and
# others import when they are first used
@pytest.mark.parametrize("case", unless_thorough(list(REFUSED), *(REFUSED.keys() - {"lambda"})))
def test_what_is_no_backbone_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    make, mode, side, words = REFUSED[case]
    path = saved(tmp_path, make())

    with pytest.raises(UsageError) as caught:
        read_own_backbone(path, mode, side=side)

    assert words in caught.value.message and str(path) in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint


def test_the_hint_cuts_a_model_with_its_head_on(tmp_path: Path) -> None:
    model = with_head()

    with pytest.raises(UsageError) as caught:
        read_own_backbone(saved(tmp_path, model), "tf")

    layer = str(caught.value.hint).split("get_layer('")[1].split("'")[0]
    cut = saved(tmp_path, keras.Model(model.inputs, model.get_layer(layer).output), "cut.keras")
    assert len(read_own_backbone(cut, "tf").stages) == 1


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return a copy of a model file whose description of the layers is another."""
    other = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return other


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"module": None, "class_name": "Mine", "registered_name": "pkg>Mine"}, "class Mine"),
        ({"module": "os", "class_name": "system"}, "class system"),
        ({"module": "kerasevil.layers", "class_name": "Conv2D"}, "class Conv2D"),
        ({"module": "builtins", "class_name": "function", "config": "act"}, "'act'"),
    ],
)
def test_classes_that_are_not_of_keras_are_not_made(
    replaced: dict[str, Any], words: str, tmp_path: Path
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1].update(replaced)

    path = changed(saved(tmp_path, plain()), change)

    with pytest.raises(UsageError, match="not one of Keras' layers") as caught:
        read_own_backbone(path, "tf")

    assert words in caught.value.message


def test_a_layer_of_keras_that_reads_another_file_is_not_made(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer = config["config"]["layers"][2]
        layer.update(module="keras.layers", class_name="StringLookup")
        layer["config"].update(vocabulary=str(tmp_path / "secret.txt"))

    path = changed(saved(tmp_path, plain()), change)

    with pytest.raises(UsageError, match="StringLookup, which is not one of Keras' layers"):
        read_own_backbone(path, "tf")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_file_that_claims_more_weights_than_it_holds_is_refused(
    suffix: str, tmp_path: Path
) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["filters"] = 10**6

    entry = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(entry, layers.Conv2D(4, 3)(entry))
    path = saved(tmp_path, model, f"mine.{suffix}")
    if suffix == "keras":
        path = changed(path, change)
    else:
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(UsageError, match=r"it claims .* weights and contains"):
        read_own_backbone(path, "tf")


def test_operations_of_a_model_may_have_the_names_of_the_preprocessing(tmp_path: Path) -> None:
    keras.backend.clear_session()  # else Keras would number the names on
    entry = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(entry, conv(entry / 2.0 - 1.0, 4, strides=2))
    path = saved(tmp_path, model)
    keras.backend.clear_session()

    mine = network(path, mode="tf")

    last = mine.model.get_layer(mine.backbone.stages[-1].layer).output
    computed = np.asarray(keras.Model(mine.images, last)(images()))
    expected = np.asarray(model(images() / 127.5 - 1.0, training=False))
    np.testing.assert_allclose(computed, expected, atol=1e-5)


def test_a_file_may_have_a_name_that_converters_do_not_take(tmp_path: Path) -> None:
    path = saved(tmp_path, residual_model(), "my net é.keras")

    assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", network(path).model.name)


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("hello")
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    elif kind == "bomb":
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb", bytes(80 * 2**20))
    elif kind == "weights":
        shutil.move(path, path.with_suffix(".none"))
        plain().save_weights(path.with_name("x.weights.h5"))
        shutil.move(path.with_name("x.weights.h5"), path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "the Keras model"),
        ("text", "neither a .keras nor an .h5 file"),
        ("archive", "without the config.json"),
        ("bomb", "its parts claim"),
        ("weights", "holds weights only"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(kind: str, words: str, tmp_path: Path) -> None:
    path = saved(tmp_path, plain())
    damage(path, kind)

    with pytest.raises(UsageError) as caught:
        read_own_backbone(path, "tf")

    assert words in caught.value.message and "\n" not in caught.value.message
