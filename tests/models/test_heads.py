"""Heads give float32 logits, seeded, under every norm and policy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tltool.errors import UsageError
from tltool.models.backbone_registry import OriginalHead
from tltool.models.dropout import DropConnectDense
from tltool.models.head_parts import DropoutSettings, for_standardized, set_statistics
from tltool.models.heads import HEADS, LINEAR_HEADS, attach_head
from tltool.models.norms import NORMS


def head(kind: str, **changes: Any) -> keras.Model:
    features = keras.Input((4, 4, 6))
    options: dict[str, Any] = {"classes": 3, "dropout": 0.5, "hidden_units": 12}
    options |= {"norm": "none", "seed": 7, "original": OriginalHead((9, 5)), **changes}
    return keras.Model(features, attach_head(features, kind=kind, **options))


def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 4, 4, 6)).astype("float32")


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_ends_in_one_logit_per_class(kind: str) -> None:
    model = head(kind)
    logits = model(maps(), training=False)
    assert tuple(logits.shape) == (5, 3) and logits.dtype == "float32"
    assert model.layers[-1].name == "head_logits"
    assert all(layer.name.startswith("head_") for layer in model.layers[1:])


@pytest.mark.parametrize("kind", HEADS)
def test_the_weights_are_a_function_of_the_seed(kind: str) -> None:
    first, again, other = (head(kind, seed=seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", HEADS)
def test_logits_are_float32_under_mixed_precision(kind: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert head(kind)(maps()).dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_preserves_differences_between_images(norm: str) -> None:
    logits = np.asarray(head("mlp", norm=norm)(maps(), training=True))
    assert np.isfinite(logits).all()
    assert logits.std(axis=0).min() > 1e-3


@pytest.mark.parametrize(("kind", "width"), [("gap", 6), ("mlp", 6), ("gap_max", 12)])
def test_the_pooled_vector_is_head_pool(kind: str, width: int) -> None:
    model = head(kind)
    pooled = keras.Model(model.input, model.get_layer("head_pool").output)
    result = np.asarray(pooled(maps()))
    np.testing.assert_allclose(result[:, :6], maps().mean(axis=(1, 2)), atol=1e-6)
    assert result.shape == (5, width)


def test_flatten_gives_every_position_weights_of_its_own() -> None:
    model, turned = head("flatten"), maps()[:, ::-1]
    assert model.get_layer("head_dense").kernel.shape == (4 * 4 * 6, 12)
    plain = np.asarray(model(maps(), training=False))
    assert np.abs(plain - np.asarray(model(turned, training=False))).max() > 1e-2


def test_gap_conv_is_the_dense_head_on_the_mean() -> None:
    model = head("gap_conv")
    kernel, bias = model.get_layer("head_conv").get_weights()
    expected = maps().mean(axis=(1, 2)) @ kernel[0, 0] + bias
    np.testing.assert_allclose(np.asarray(model(maps(), training=False)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "gap_mx"}, "Did you mean 'gap_max'"),
        ({"kind": "mlp", "norm": "bach"}, "Did you mean 'batch'"),
        ({"kind": "mlp", "hidden_units": 0}, "at least 1 hidden unit"),
        ({"kind": "flatten", "hidden_units": 0}, "at least 1 hidden unit"),
        ({"kind": "flatten", "norm": "instance"}, "has no instance normalisation"),
        ({"kind": "mlp", "norm": "group", "groups": 5}, "5 groups do not divide the 12 channels"),
        (
            {"kind": "gap_conv", "dropout_settings": DropoutSettings("dropconnect")},
            "'gap_conv' has none",
        ),
    ],
)
def test_a_wrong_name_or_number_is_a_usage_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        head(**changes)


def test_the_original_head_is_that_of_the_paper() -> None:
    tanh = OriginalHead((9, 5), activation="tanh")
    model = head("original", original=tanh, dropout=0.0)
    x = maps().reshape(5, -1)
    for layer in ("head_dense1", "head_dense2"):
        kernel, bias = model.get_layer(layer).get_weights()
        x = np.tanh(x @ kernel + bias)
    kernel, bias = model.get_layer("head_logits").get_weights()
    np.testing.assert_allclose(np.asarray(model(maps())), x @ kernel + bias, atol=1e-5)
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [9, 5, 3]


def test_the_original_head_drops_out_every_hidden_layer() -> None:
    model = head("original", dropout=0.5)
    for number in (1, 2):
        hidden = keras.Model(model.input, model.get_layer(f"head_dropout{number}").output)
        before = keras.Model(model.input, model.get_layer(f"head_dense{number}").output)
        kept, still = np.asarray(hidden(maps(), training=True)), np.asarray(hidden(maps()))
        np.testing.assert_array_equal(still, np.asarray(before(maps())))
        assert (kept == 0).sum() > (still == 0).sum()


def test_without_hidden_layers_the_original_head_is_the_mean() -> None:
    plain, original = head("gap"), head("original", original=OriginalHead())
    np.testing.assert_array_equal(np.asarray(original(maps())), np.asarray(plain(maps())))


DROPS = ("dropout", "gaussian", "spatial", "alpha", "dropconnect")


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("kind", HEADS)
def test_every_head_applies_its_dropout_in_training_only(kind: str, drop: str) -> None:
    if (kind, drop) == ("gap_conv", "dropconnect"):
        pytest.skip("has no dense layer")
    model, plain = (
        head(kind, dropout_settings=DropoutSettings(drop)),
        head(kind, dropout_settings=DropoutSettings(drop), dropout=0.0),
    )
    plain.set_weights(model.get_weights())
    still = np.asarray(model(maps(), training=False))
    np.testing.assert_allclose(still, np.asarray(plain(maps(), training=False)), atol=1e-6)
    first, second = (np.asarray(model(maps(), training=True)) for _ in range(2))
    assert not np.allclose(first, still) and not np.allclose(first, second)


@pytest.mark.parametrize("kind", ["gap_conv", "flatten", "original"])
def test_spatial_dropout_takes_whole_maps(kind: str) -> None:
    model = head(kind, dropout_settings=DropoutSettings("spatial"))
    dropping = next(x for x in model.layers if isinstance(x, keras.layers.SpatialDropout2D))
    kept = np.asarray(keras.Model(model.input, dropping.output)(maps(), training=True))
    gone = (kept == 0).reshape(5, 16, 6)
    assert (gone.all(axis=1) == gone.any(axis=1)).all()
    assert 0 < gone.mean() < 1


@pytest.mark.parametrize(("kind", "dense"), [("gap", 1), ("mlp", 2), ("original", 3)])
def test_dropconnect_is_in_every_dense_layer(kind: str, dense: int) -> None:
    model = head(kind, dropout_settings=DropoutSettings("dropconnect"))
    assert sum(isinstance(layer, DropConnectDense) for layer in model.layers) == dense


def test_attention_is_a_mean_by_the_softmax_of_scores() -> None:
    model = head("attention", dropout=0.0)
    kernel, bias = model.get_layer("head_attention_hidden").get_weights()
    score = np.random.default_rng(1).normal(size=(1, 1, 128, 1))
    model.get_layer("head_attention_score").set_weights([score])
    flat = maps().reshape(5, 16, 6)
    scores = (np.tanh(flat @ kernel[0, 0] + bias) @ score[0, 0])[..., 0]
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    kernel, bias = model.get_layer("head_logits").get_weights()
    expected = np.einsum("bp,bpc->bc", weights, flat) @ kernel + bias
    np.testing.assert_allclose(np.asarray(model(maps())), expected, atol=1e-5)


def test_attention_begins_as_the_mean() -> None:
    attention, mean = head("attention", dropout=0.0), head("gap", dropout=0.0)
    dense = attention.get_layer("head_logits").get_weights()
    mean.get_layer("head_logits").set_weights(dense)
    np.testing.assert_allclose(attention(maps()), mean(maps()), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("mlp", {}),
        ("mlp", {"norm": "batch"}),
        ("mlp", {"norm": "instance"}),
        ("flatten", {}),
        ("flatten", {"dropout_settings": DropoutSettings("spatial")}),
        ("original", {}),
        ("attention", {}),
        ("gap", {}),
        ("gap_conv", {}),
        ("gap_max", {}),
    ],
)
def test_every_head_standardises_pretrained_features(kind: str, changes: Any) -> None:
    model = head(kind, standardize=True, **changes)
    layer = model.get_layer("head_standardize")
    seen = keras.Model(model.input, layer.output)
    features = 100 + 30 * maps()
    features[..., 5] = 7.0  # never varies
    given = keras.Model(model.input, layer.input)
    np.testing.assert_allclose(seen(features), given(features), rtol=1e-5)  # before set_statistics
    set_statistics(layer, np.asarray(given(features)))
    after = np.asarray(seen(features, training=True)).reshape(-1, layer.moving_mean.shape[0])
    np.testing.assert_allclose(after.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(after[:, :5].std(axis=0), 1, atol=0.01)
    assert after[:, 5].std() == 0
    assert not layer.trainable_variables


@pytest.mark.parametrize("kind", sorted(LINEAR_HEADS))
def test_a_linear_classifier_of_raw_features_keeps_its_logits(kind: str) -> None:
    model = head(kind, standardize=True)
    layer = model.get_layer("head_standardize")
    features = 100 + 30 * maps()
    features[..., 5] = 0.01 * maps()[..., 5]  # below the floor
    set_statistics(layer, np.asarray(keras.Model(model.input, layer.input)(features)))
    pooled = features.mean(axis=(1, 2))
    if kind == "gap_max":
        pooled = np.concatenate([pooled, features.max(axis=(1, 2))], axis=1)
    rng = np.random.default_rng(1)
    raw_kernel, raw_bias = rng.normal(size=(pooled.shape[1], 3)), rng.normal(size=3)
    kernel, bias = for_standardized(layer, raw_kernel, raw_bias)
    last = model.get_layer("head_conv" if kind == "gap_conv" else "head_logits")
    last.kernel.assign(kernel.reshape(last.kernel.shape))
    last.bias.assign(bias)
    np.testing.assert_allclose(model(features), pooled @ raw_kernel + raw_bias, atol=1e-3)


@pytest.mark.parametrize("kind", ["gap", "gap_conv"])
def test_dropout_never_drops_a_giant_feature(kind: str) -> None:
    """A channel that one image in 1,000 has was 32 standard deviations before the floor."""
    model = head(kind, standardize=True)
    layer = model.get_layer("head_standardize")
    features = np.random.default_rng(0).normal(1, 1, (1000, 4, 4, 6)).astype("float32")
    features[..., 5] = 0
    features[0, ..., 5] = 0.3
    set_statistics(layer, np.asarray(keras.Model(model.input, layer.input)(features)))
    seen = np.asarray(keras.Model(model.input, layer.output)(features[:1])).reshape(-1, 6)
    assert 0 < seen[:, 5].mean() < 20


def test_attention_dropout_drops_attention_weights() -> None:
    model = head("attention", dropout=0.0, dropout_settings=DropoutSettings(attention=0.5))
    kept = keras.Model(model.input, model.get_layer("head_attention_dropout").output)
    all_of_them = keras.Model(model.input, model.get_layer("head_attention").output)
    dropped, weights = np.asarray(kept(maps(), training=True)), np.asarray(all_of_them(maps()))
    there = dropped != 0
    assert 0.2 < there.mean() < 0.8
    np.testing.assert_allclose(dropped[there], 2 * weights[there], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(kept(maps(), training=False)), weights)
