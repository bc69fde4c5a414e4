"""One flat, seeded model; BatchNorm still; a tail that trains and a trunk that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import by_cost, unless_thorough
from tltool.errors import UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.heads import HEADS
from tltool.models.network_parts import Network
from tltool.models.norms import NORMS


def make(name: str, size: int = 32, **changes: Any) -> keras.Model:
    options: dict[str, Any] = {"classes": 3, "head": "gap", "dropout": 0.0, "hidden_units": 8}
    options |= {"norm": "none", "weights": None, "seed": 0, **changes}
    return build_model(get_backbone(name), image_size=(size, size), **options)


def images(n: int = 4, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (n, size, size, 3)).astype("float32")


def test_the_model_is_flat_from_images_to_logits() -> None:
    model = make("vgg16")
    assert model.input.name == "images" and tuple(model.input.shape) == (None, 32, 32, 3)
    assert tuple(model.output.shape) == (None, 3) and model.output.dtype == "float32"
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert {"preprocess", "block5_pool", "head_pool", "head_logits"} <= {
        layer.name for layer in model.layers
    }


@pytest.mark.parametrize(
    "name", unless_thorough(["tiny_vgg", "tiny_resnet", "vgg16"], "tiny_vgg", "tiny_resnet")
)
def test_random_weights_are_a_function_of_the_seed_alone(name: str) -> None:
    first, again, other = make(name, seed=1), make(name, seed=1), make(name, seed=2)
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_images_of_any_shape_are_accepted_down_to_the_smallest() -> None:
    backbone = get_backbone("tiny_vgg")
    options: dict[str, Any] = {"classes": 2, "head": "gap", "dropout": 0.0, "hidden_units": 0}
    options |= {"norm": "none", "weights": None, "seed": 0}
    model = build_model(backbone, image_size=(8, 20), **options)
    assert tuple(model.input.shape) == (None, 8, 20, 3)
    with pytest.raises(UsageError, match="at least 8 px, not 7x20"):
        build_model(backbone, image_size=(7, 20), **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("stage", unless_thorough(["block2", "block3"], "block3"))
def test_tail_of_trunk_is_the_model(head: str, stage: str) -> None:
    network = Network(
        make("tiny_resnet", head=head, norm="batch"), get_backbone("tiny_resnet"), head
    )
    cut = network.cut(stage)
    activation = keras.Model(network.images, cut)(images(), training=False)
    tail = keras.Model(cut, network.model.output)
    np.testing.assert_array_equal(
        np.asarray(tail(activation, training=False)),
        np.asarray(network.model(images(), training=False)),
    )


def test_there_is_no_cut_before_the_first_stage() -> None:
    network = Network(make("tiny_vgg"), get_backbone("tiny_vgg"), "gap")
    with pytest.raises(UsageError, match="'block1' is the first stage of tiny_vgg"):
        network.cut("block1")


@pytest.mark.parametrize(
    ("head", "norm"), [*((head, "none") for head in HEADS), *(("mlp", norm) for norm in NORMS)]
)
def test_the_head_alone_gives_the_models_logits(head: str, norm: str) -> None:
    network = Network(make("tiny_vgg", head=head, norm=norm), get_backbone("tiny_vgg"), head)
    pooled = network.images_to_pooled(images(), training=False)
    np.testing.assert_allclose(
        np.asarray(network.pooled_to_logits(pooled, training=False)),
        np.asarray(network.model(images(), training=False)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_training_the_tail_trains_the_model() -> None:
    network = Network(make("tiny_vgg"), get_backbone("tiny_vgg"), "gap")
    model, cut = network.model, network.cut("block3")
    trunk, tail = keras.Model(network.images, cut), keras.Model(cut, model.output)
    first, last = (model.get_layer(f"block{n}_conv1").get_weights()[0] for n in (1, 3))
    tail.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tail.fit(np.asarray(trunk(images())), np.array([0, 1, 2, 0]), verbose=0)
    np.testing.assert_array_equal(model.get_layer("block1_conv1").get_weights()[0], first)
    assert not np.array_equal(model.get_layer("block3_conv1").get_weights()[0], last)


def trained_layers(network: Network, stage: str) -> list[set[str]]:
    groups = network.trained_from(stage)
    return [{variable.path.split("/")[0] for variable in group} for group in groups]


def test_only_the_stage_and_what_follows_is_trained_highest_first() -> None:
    network = Network(make("tiny_vgg"), get_backbone("tiny_vgg"), "gap")
    top = {"block3_conv1", "head_logits"}
    assert trained_layers(network, "block3") == [top]
    assert trained_layers(network, "block1") == [top, {"block2_conv1"}, {"block1_conv1"}]
    assert {v.path.split("/")[0] for v in network.head_variables()} == {"head_logits"}


@pytest.mark.parametrize("train_batch_norm", [False, True])
def test_batch_norm_is_trained_only_when_configured(train_batch_norm: bool) -> None:
    model = make("tiny_resnet", head="mlp", norm="batch", train_batch_norm=train_batch_norm)
    network = Network(model, get_backbone("tiny_resnet"), "mlp")
    trained = set().union(*trained_layers(network, "block2"))
    assert ("block3_bn1" in trained) == train_batch_norm
    assert "head_norm" in trained and "block1_bn1" not in trained


def statistics(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(w) for w in model.weights if "moving_" in w.path]


TUNED = [
    ("tiny_resnet", "block3", "block3_conv1"),
    ("resnet50", "conv5", "conv5_block1_1_conv"),
    ("mobilenet_v2", "block7", "Conv_1"),
    ("efficientnet_b0", "block7", "top_conv"),
    ("xception", "block14", "block14_sepconv2"),
    ("densenet121", "conv5", "conv5_block1_1_conv"),
]


# the trunk of resnet50 in training is also that of the next test
@pytest.mark.parametrize(("name", "stage", "layer"), by_cost(TUNED, TUNED[0], thorough=TUNED[1:4]))
def test_moving_statistics_do_not_move_in_training(name: str, stage: str, layer: str) -> None:
    size = max(64, get_backbone(name).min_size)
    model, backbone = make(name, size), get_backbone(name)
    randomise_statistics(model)
    tuned = {id(v) for v in Network(model, backbone, "gap").trained_from(stage)[0]}
    for one in model.layers:
        if not isinstance(one, keras.layers.BatchNormalization):
            one.trainable = any(id(v) in tuned for v in one.trainable_variables)
    before, kernel = statistics(model), model.get_layer(layer).get_weights()[0]
    model.compile(
        keras.optimizers.SGD(1e-6), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(images(4, size), np.array([0, 1, 2, 0]), epochs=2, verbose=0)
    assert all(map(np.array_equal, statistics(model), before))
    after = model.get_layer(layer).get_weights()[0]
    assert np.isfinite(after).all() and not np.array_equal(after, kernel)


@pytest.mark.thorough
def test_the_resnet50_trunk_gives_the_same_output_in_training_and_inference() -> None:
    model, backbone = make("resnet50", 64), get_backbone("resnet50")
    randomise_statistics(model)
    trunk = keras.Model(model.input, Network(model, backbone, "gap").cut("conv5"))
    training, inference = (np.asarray(trunk(images(2, 64), training=t)) for t in (True, False))
    np.testing.assert_array_equal(training, inference)
    logits = [np.asarray(model(images(2, 64), training=t)) for t in (True, False)]
    np.testing.assert_array_equal(logits[0], logits[1])


def randomise_statistics(model: keras.Model) -> None:
    """Give BatchNorm statistics other than batch statistics, or the test would prove nothing."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "moving_" in weight.path:
            low, high = (-0.2, 0.2) if weight.path.endswith("moving_mean") else (0.5, 1.5)
            weight.assign(rng.uniform(low, high, weight.shape))


def test_batch_norm_is_updated_when_the_recipe_trains_it() -> None:
    model = make("tiny_resnet", train_batch_norm=True)
    before = statistics(model)
    model(images(), training=True)
    assert not any(map(np.array_equal, statistics(model), before))


def test_pretrained_weights_are_loaded_and_the_head_is_new(tmp_path: Path) -> None:
    first = make("tiny_vgg", seed=1)
    first.save(tmp_path / "first.keras")
    second = make("tiny_vgg", seed=2, classes=5, weights=tmp_path / "first.keras")
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])
    assert tuple(second.output.shape) == (None, 5)


def test_weights_of_another_backbone_are_an_error(tmp_path: Path) -> None:
    make("tiny_resnet").save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match="do not fit tiny_vgg: layer 'block1_conv1'"):
        make("tiny_vgg", weights=tmp_path / "other.keras")


def test_a_saved_model_answers_the_same(tmp_path: Path) -> None:
    model = make("resnet18")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded(images())), np.asarray(model(images())))
