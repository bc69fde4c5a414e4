"""Networks of keras.applications: the numbers of Keras, whatever was built before."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from keras.src.utils import file_utils

from tests.conftest import by_cost, unless_thorough
from tests.models.families import OF_EACH_FAMILY, WALKED
from tltool.errors import UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.keras_applications import build_application
from tltool.models.preprocessing import preprocessed
from tltool.models.regularization import regularize_backbone
from tltool.models.regularization_spec import RegularizationSpec
from tltool.weights import fetch_weights
from tltool.weights.keras_files import KERAS_FILES
from tltool.weights.published import PUBLISHED, Download

BY_KERAS = [row[0] for row in KERAS_FILES]
# One for each peculiarity: named layers, layers inside layers, arithmetic, automatic names.
SMALL = ("mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "xception")
IMAGENET_STD = (0.229, 0.224, 0.225)


def size_of(name: str) -> int:
    return get_backbone(name).min_size + 9


def extractor(name: str, weights: Path | None = None) -> keras.Model:
    backbone, side = get_backbone(name), size_of(name)
    options: dict[str, Any] = {"classes": 2, "head": "gap", "dropout": 0.0, "hidden_units": 0}
    options |= {"norm": "none", "weights": weights, "seed": 0}
    model = build_model(backbone, image_size=(side, side), **options)
    return keras.Model(model.input, model.get_layer(backbone.stages[-1].layer).output)


def of_keras(name: str, weights: str | None = None) -> keras.Model:
    """Return Keras' own network, with the layers that scale its input if it has them."""
    side = size_of(name)
    application = getattr(keras.applications, get_backbone(name).builder)
    return application(include_top=False, weights=weights, input_shape=(side, side, 3))


def randomised(model: keras.Model) -> keras.Model:
    draw = np.random.default_rng(0)
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if isinstance(layer, keras.layers.Normalization):
            for variable, value in zip(
                layer.weights, ((0.485, 0.456, 0.406), IMAGENET_STD, 1), strict=False
            ):  # of EfficientNet, as in the published files
                variable.assign(value)
        elif not isinstance(layer, keras.Sequential):
            for variable in layer.weights:
                if len(variable.shape) == 1:  # otherwise 0 or 1, or nearly 0 in ConvNeXt's blocks
                    variable.assign(draw.uniform(0.3, 0.8, variable.shape))
    return model


def write_h5(model: keras.Model, path: Path) -> Path:
    """Write the weights in the layout of the published files."""
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files with the layout of the published ones, by backbone."""
    folder = tmp_path_factory.mktemp("published")

    class Files(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = write_h5(randomised(of_keras(name)), folder / f"{name}.h5")
            return self[name]

    return Files()


def features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*`input_shape` is undefined")
@pytest.mark.parametrize(
    "name",
    by_cost(OF_EACH_FAMILY, "mobilenet_v3_small", "convnext_tiny", thorough=WALKED),
)
def test_a_published_file_gives_the_features_of_keras(
    name: str, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, side, asked = published[name], size_of(name), []

    def get_file(_: str, url: str, *, file_hash: str | None = None, **__: object) -> str:
        asked.append((url, file_hash))
        return str(file)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    reference = of_keras(name, "imagenet")
    (origin,) = PUBLISHED[name].origins
    assert isinstance(origin, Download) and asked == [(origin.url, origin.digest)]
    images = np.random.default_rng(1).uniform(0, 255, (2, side, side, 3)).astype("float32")
    module = getattr(keras.applications, get_backbone(name).builder).__module__
    preprocessed = importlib.import_module(module).preprocess_input(images.copy())
    expected = features(reference, preprocessed)
    found = features(extractor(name, file), images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    fetch_weights._check_structure(PUBLISHED[name], file)


@pytest.mark.thorough
@pytest.mark.parametrize("name", unless_thorough(["xception", "inception_v3"], "xception"))
@pytest.mark.parametrize("layout", ["h5", "weights.h5"])
def test_a_network_that_was_built_second_loads_too(name: str, layout: str, tmp_path: Path) -> None:
    of_keras(name)
    second = randomised(of_keras(name))
    file = tmp_path / f"second.{layout}"
    if layout == "h5":
        write_h5(second, file)
    else:
        second.save_weights(file)
    loaded = extractor(name, file)
    expected = [array for layer in second.layers for array in layer.get_weights()]
    found = [array for layer in loaded.layers for array in layer.get_weights()]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
def test_older_names_of_layers_load_by_their_order(
    tmp_path: Path, published: dict[str, Path]
) -> None:
    """Keras' file of MobileNetV3 has names such as ``expanded_conv/depthwise``."""
    file = tmp_path / "older.h5"
    with h5py.File(published["mobilenet_v3_small"]) as source, h5py.File(file, "w") as target:
        names = list(source.attrs["layer_names"])
        older = [name.replace("expanded_conv", "expanded_conv/1") for name in names]
        target.attrs["layer_names"] = older
        for name, old in zip(names, older, strict=True):
            source.copy(name, target, old)
    for one, other in zip(
        extractor("mobilenet_v3_small", file).weights,
        extractor("mobilenet_v3_small", published["mobilenet_v3_small"]).weights,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
def test_weights_of_another_variant_are_refused(
    tmp_path: Path, published: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLTOOL_WEIGHTS_DIR", str(tmp_path / "store"))
    larger = published["efficientnet_v2_b1"]
    with pytest.raises(UsageError, match="do not fit efficientnet_v2_b0: it also has 'block1b"):
        extractor("efficientnet_v2_b0", larger)
    with pytest.raises(UsageError, match=r"it has 111 convolutions with 6,773,152 weights, not 91"):
        fetch_weights.import_file("efficientnet_v2_b0", larger)
    assert not (tmp_path / "store").exists()


@pytest.mark.thorough
def test_weights_for_pixels_of_another_scale_are_refused(tmp_path: Path) -> None:
    from_scratch = write_h5(of_keras("efficientnet_b0"), tmp_path / "scratch.h5")
    with pytest.raises(UsageError, match="scales pixels with mean 0, 0, 0 and variance 1, 1, 1"):
        extractor("efficientnet_b0", from_scratch)


def outlined(name: str) -> keras.Model:
    """Return the network without weights: names and shapes."""
    side = size_of(name)

    def pixels() -> Any:
        images = keras.Input((side, side, 3), name="images")
        return preprocessed(images, "none")

    with keras.StatelessScope(initialize_variables=False):
        model = build_application(get_backbone(name).builder, pixels)
    keras.backend.clear_session()  # or Keras draws the weights when the next model is built
    return model


def test_names_of_layers_do_not_depend_on_what_was_built_before() -> None:
    first = [layer.name for layer in outlined("xception").layers]
    keras.layers.Conv2D(1, 1)
    assert [layer.name for layer in outlined("xception").layers] == first
    assert {"conv2d", "conv2d_3", "batch_normalization_3"} <= set(first)


@pytest.mark.parametrize("name", by_cost(BY_KERAS, SMALL[0], thorough=(*SMALL, *WALKED)))
def test_the_network_is_flat_and_has_weights_in_the_order_of_keras(name: str) -> None:
    """Published files are loaded by this order. Scaling of pixels is left to tltool."""
    keras.backend.clear_session()
    with keras.StatelessScope(initialize_variables=False):
        reference = of_keras(name)
    expected = []
    for layer in reference.layers:
        inner = layer.layers if isinstance(layer, keras.Sequential) else [layer]
        expected += [one.name for one in inner if one.weights and one.name != "normalization"]
    model = outlined(name)
    assert [layer.name for layer in model.layers if layer.weights] == expected
    kinds = {type(operation).__name__ for operation in model.operations}
    assert len(model.operations) == len(model.layers), "all arithmetic is in layers"
    assert not kinds & {"Sequential", "Normalization", "Dropout", "CustomScaleLayer"}
    assert [layer.name for layer in model.layers[:2]] == ["images", "preprocess"]


@pytest.mark.thorough
def test_automatic_names_of_the_user_are_counted_on() -> None:
    keras.backend.clear_session()
    keras.layers.Conv2D(1, 1)
    extractor("xception")
    assert keras.layers.Conv2D(1, 1).name == "conv2d_1"


@pytest.mark.thorough
def test_stochastic_depth_skips_the_residual_branch_and_not_the_shortcut() -> None:
    """Keras adds the shortcut second in EfficientNet, and first in MobileNet."""
    backbone = get_backbone("efficientnet_b0")
    settings = RegularizationSpec(stochastic_depth=0.2)
    with keras.StatelessScope(initialize_variables=False):
        model = regularize_backbone(
            outlined(backbone.name), backbone, settings, pretrained=True, seed=0
        )
    keras.backend.clear_session()
    producers = {id(layer.output): layer.name for layer in model.layers}
    drop = model.get_layer("block3b_add_drop_path")
    assert producers[id(drop.input)] == "block3b_project_bn"
    assert sum(layer.name.endswith("drop_path") for layer in model.layers) == 9


@pytest.mark.thorough
def test_random_weights_of_separable_convolutions_depend_on_the_seed_alone() -> None:
    one, other = extractor("xception"), extractor("xception")
    for first, second in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", by_cost(OF_EACH_FAMILY, "mobilenet_v3_small", thorough=WALKED))
def test_a_frozen_trunk_gives_the_same_in_training_and_inference(name: str) -> None:
    """Batch normalisation, squeeze-and-excitation and stochastic depth are in inference mode."""
    side = size_of(name)
    model = randomised(extractor(name))
    images = np.random.default_rng(2).uniform(0, 255, (2, side, side, 3)).astype("float32")
    statistics = [np.asarray(one) for one in model.non_trainable_variables]
    np.testing.assert_array_equal(model(images, training=True), model(images, training=False))
    assert all(map(np.array_equal, model.non_trainable_variables, statistics))
