"""A backbone regularised from within: same names and variables, same answers in inference."""

from __future__ import annotations

from itertools import pairwise

import keras
import numpy as np
import pytest

from tests.conftest import unless_thorough
from tltool.errors import UsageError
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.norms import NORMS, norm_layer
from tltool.models.regularization import for_inference, regularize_backbone
from tltool.models.regularization_spec import RegularizationSpec
from tltool.models.resnet import build_resnet, build_tiny_resnet, build_tiny_vgg

IMAGES = np.random.default_rng(0).normal(0, 1, (6, 32, 32, 3)).astype(np.float32)
BUILD = {"tiny_resnet": build_tiny_resnet, "tiny_vgg": build_tiny_vgg}


def extractor(name: str = "tiny_resnet") -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3), name="images")
    return keras.Model(images, BUILD[name](images))


def changed(
    settings: RegularizationSpec, name: str = "tiny_resnet", *, pretrained: bool = False
) -> tuple[keras.Model, keras.Model]:
    """Return the original network and the regularised one, with the same weights if they fit."""
    plain = extractor(name)
    backbone = get_backbone(name)
    other = regularize_backbone(plain, backbone, settings, pretrained=pretrained, seed=3)
    if settings.norm in ("batch", "sync_batch"):
        for layer in plain.layers:
            other.get_layer(layer.name).set_weights(layer.get_weights())
    return plain, other


SETTINGS = {
    "stochastic depth": (RegularizationSpec(stochastic_depth=0.5), "tiny_resnet"),
    "blocks in a residual net": (RegularizationSpec(drop_block=(0.3, 2)), "tiny_resnet"),
    "blocks in a plain net": (RegularizationSpec(drop_block=(0.3, 2)), "tiny_vgg"),
    "all": (RegularizationSpec(0.5, (0.3, 2), "sync_batch"), "tiny_resnet"),
}


@pytest.mark.parametrize("case", unless_thorough([*SETTINGS], "all"))
def test_names_stay_inference_stays_and_training_differs(case):
    plain, other = changed(*SETTINGS[case])
    names = [variable.path for variable in other.variables if "seed" not in variable.path]
    assert sorted(names) == sorted(variable.path for variable in plain.variables)
    expected = np.asarray(plain(IMAGES, training=False))
    np.testing.assert_allclose(other(IMAGES, training=False), expected, atol=1e-6)
    first, second = (np.asarray(other(IMAGES, training=True)) for _ in range(2))
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("case", unless_thorough([*SETTINGS], "all"))
def test_for_inference_there_are_only_layers_of_keras(case):
    settings, name = SETTINGS[case]
    _, other = changed(settings, name)
    plain = for_inference(other)
    assert all(type(layer).__module__.startswith("keras.src") for layer in plain.layers)
    expected = np.asarray(other(IMAGES, training=False))
    np.testing.assert_allclose(plain(IMAGES, training=False), expected, atol=1e-6)


def test_a_model_without_such_layers_is_its_own():
    model = extractor()
    assert for_inference(model) is model
    assert (
        regularize_backbone(
            model, get_backbone("tiny_resnet"), RegularizationSpec(), pretrained=False, seed=0
        )
        is model
    )


def test_the_depth_decays_linearly():
    images = keras.Input((32, 32, 3), name="images")
    model = keras.Model(images, build_resnet(18, images))
    deep = regularize_backbone(
        model, get_backbone("resnet18"), RegularizationSpec(0.4), pretrained=True, seed=0
    )
    rates = [layer.rate for layer in deep.layers if layer.name.endswith("drop_path")]
    assert rates == pytest.approx([0.4 * number / 8 for number in range(1, 9)])


def test_whole_blocks_are_skipped():
    """With everything dropped but the shortcut, the last block passes its shortcut on."""
    _, other = changed(RegularizationSpec(stochastic_depth=0.999999))
    last = other.get_layer("block3_out").output
    shortcut = other.get_layer("block3_downsample_1").output
    parts = keras.Model(other.input, [last, shortcut])
    out, skipped = (np.asarray(part) for part in parts(IMAGES, training=True))
    np.testing.assert_allclose(out, np.maximum(skipped, 0), atol=1e-5)


# norms --------------------------------------------------------------------------------------

MAPS = np.random.default_rng(1).normal(3, 2, (4, 5, 5, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("norm", "axes"),
    [("batch", (0, 1, 2)), ("sync_batch", (0, 1, 2)), ("layer", (1, 2, 3)), ("instance", (1, 2))],
)
def test_each_norm_takes_mean_and_variance_over_its_axes(norm, axes):
    found = np.asarray(norm_layer(norm, "norm", 8)(MAPS, training=True))
    mean, variance = MAPS.mean(axes, keepdims=True), MAPS.var(axes, keepdims=True)
    np.testing.assert_allclose(found, (MAPS - mean) / np.sqrt(variance + 1e-3), atol=1e-4)


def test_group_norm_takes_them_over_positions_and_the_channels_of_a_group():
    found = np.asarray(norm_layer("group", "norm", 8, groups=2)(MAPS))
    grouped = MAPS.reshape(4, 5, 5, 2, 4)
    mean, variance = (f((1, 2, 4), keepdims=True) for f in (grouped.mean, grouped.var))
    expected = (grouped - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(found, expected.reshape(MAPS.shape), atol=1e-4)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "none"])
def test_only_batch_norm_depends_on_the_batch(norm):
    layer = norm_layer(norm, "norm", 8)
    whole, alone = (np.asarray(layer(maps, training=True)) for maps in (MAPS, MAPS[:1]))
    assert np.allclose(whole[:1], alone, atol=1e-5) == ("batch" not in norm)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if norm != "batch"])
def test_a_norm_replaces_every_batch_norm(norm):
    plain, other = changed(RegularizationSpec(norm=norm))
    names = [one.name for one in plain.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert len(names) > 5
    kinds = {type(other.get_layer(name)).__name__ for name in names}
    assert kinds == {
        {"sync_batch": "BatchNormalization", "none": "Identity"}.get(norm, "GroupNormalization")
    }
    assert np.isfinite(np.asarray(other(IMAGES, training=True))).all()


def test_groups_of_none_are_as_many_as_divide_up_to_32():
    assert [norm_layer("group", "norm", channels).groups for channels in (8, 48, 512)] == [
        8,
        16,
        32,
    ]


# refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "name", "pretrained", "expected"),
    [
        (RegularizationSpec(stochastic_depth=0.1), "tiny_vgg", False, "tiny_vgg has none"),
        (
            RegularizationSpec(drop_block=(0.1, 5)),
            "tiny_resnet",
            False,
            "5 x 5 .* 4 x 4 maps of stage block3",
        ),
        (
            RegularizationSpec(norm="group"),
            "tiny_vgg",
            False,
            "tiny_vgg has no batch normalisation",
        ),
        (
            RegularizationSpec(norm="group"),
            "tiny_resnet",
            True,
            "are for batch normalisation, not group",
        ),
        (
            RegularizationSpec(norm="group", groups=3),
            "tiny_resnet",
            False,
            "3 groups do not divide the 16",
        ),
        (RegularizationSpec(norm="gruop"), "tiny_resnet", False, "Did you mean 'group'?"),
    ],
)
def test_unsupported_regularization_is_an_error(settings, name, pretrained, expected):
    with pytest.raises(UsageError, match=expected) as caught:
        regularize_backbone(
            extractor(name), get_backbone(name), settings, pretrained=pretrained, seed=0
        )
    assert caught.value.hint


def test_rates_rise_from_block_to_block():
    _, other = changed(RegularizationSpec(stochastic_depth=0.3))
    rates = [layer.rate for layer in other.layers if layer.name.endswith("drop_path")]
    assert all(low < high for low, high in pairwise(rates))


def test_it_is_applied_behind_the_preprocessing():
    model = build_model(
        get_backbone("tiny_resnet"), image_size=(32, 32), classes=2, head="gap", dropout=0.0,
        hidden_units=1, norm="none", weights=None, seed=0,
        regularization=RegularizationSpec(stochastic_depth=0.5),
    )  # fmt: skip
    assert sum(layer.name.endswith("_drop_path") for layer in model.layers) == 3
