"""Augmentation in batches, as on a GPU: the same draws give the same images, within rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.augment.transforms import (
    EVERYTHING,
    MIXES,
    TRANSFORMS,
    augmented,
    noise,
    smooth,
)
from tests.conftest import unless_thorough
from tltool.augment import batch_operations, pixel_operations
from tltool.augment.image_transforms import image_transforms
from tltool.augment.rand_augment import (
    Operation,
    aug_mix_operations,
    rand_augment_operations,
)
from tltool.augment.seeded_layers import SeedStream
from tltool.augment.spec import AugmentSpec, WithProbability
from tltool.recipe.augment_section import AugmentSection
from tltool.recipe.augmentation_policies import POLICIES
from tltool.workflows.resolve.augmentation import augment_spec

ROUNDING = 0.01  # grey levels of 255; measured: up to 0.001
SIZE = (13, 11)
# these turn a rounding error of their input into a whole step, where it crosses a threshold
STEPS = {"posterize", "solarize", "equalize"}

HALF = WithProbability(20, 0.5)
CONTINUOUS = replace(
    EVERYTHING,
    rand_augment=None,
    aug_mix=None,
    jpeg=None,
    flip="horizontal_and_vertical",
    noise=HALF,
    blur=WithProbability(2, 0.5),
    grid_mask=WithProbability(0.4, 0.5),
    mix_probability=0.5,
)
POLICY_SPECS = {name: augment_spec(AugmentSection(policy=name)) for name in POLICIES}
SPECS = {
    **{name: spec for name, spec in POLICY_SPECS.items() if not spec.identity},
    "continuous": CONTINUOUS,
    "before jpeg": AugmentSpec(
        flip="horizontal", noise=HALF, jpeg=WithProbability(60, 0.5), cutout=0.5, mixup=0.2
    ),
    "mixup": MIXES["mixup"],
    "cutmix": MIXES["cutmix"],
}

TABLES = {
    f"{table}: {one.name}": one
    for table, operations in {
        "RandAugment": rand_augment_operations(),
        "AugMix": aug_mix_operations(),
    }.items()
    for one in operations
}


def operation(name: str, lowest: float, highest: float, **settings: float) -> Operation:
    """Return an operation of both modules, with amounts from ``lowest`` to ``highest``."""

    def of(module: object):
        apply = getattr(module, name)
        return lambda image, amount: apply(image, lowest + amount, **settings)

    return Operation(name, of(pixel_operations), of(batch_operations), highest - lowest)


OTHERS = {
    "hue": operation("hue", -0.5, 0.5),
    "gaussian_blur": operation("gaussian_blur", 0.05, 4.0, largest=4.0),
    "grey": Operation(
        "grey",
        lambda image, _: pixel_operations.grey(image),
        lambda images, _: batch_operations.grey(images),
    ),
    "affine": Operation(
        "affine",
        lambda image, x: pixel_operations.affine(
            image, angle=x, shift=(3 * x, -5 * x), scale=1 + x / 2, shear=(x / 3, -x / 5)
        ),
        lambda images, x: batch_operations.affine(
            images, angle=x, shift=(3 * x, -5 * x), scale=1 + x / 2, shear=(x / 3, -x / 5)
        ),
        1.5,
        signed=True,
    ),
}


@pytest.mark.parametrize("one", [*TABLES.values(), *OTHERS.values()], ids=[*TABLES, *OTHERS])
@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    strengths=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4),
    whole=st.booleans(),
)
def test_an_operation_on_a_batch_equals_the_operation_on_each_image(one, seed, strengths, whole):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.uniform(0, 255, 2))
    images = rng.uniform(low, high, (len(strengths), *SIZE, 3)).astype(np.float32)
    images = images.round() if whole else images
    signs = rng.choice([-1, 1], len(strengths)) if one.signed else 1
    amounts = (np.array(strengths) * one.largest * signs).astype(np.float32)
    found = one.apply_to_batch(tf.constant(images), tf.constant(amounts)).numpy()
    for image, amount, changed in zip(images, amounts, found, strict=True):
        expected = one.apply(tf.constant(image), tf.constant(amount)).numpy()
        if one.name in STEPS:
            np.testing.assert_array_equal(changed, expected)
        np.testing.assert_allclose(changed, expected, atol=ROUNDING)


@pytest.mark.parametrize("size", [(224, 224), (5, 3)])
def test_equalisation_is_exact_for_images_of_any_size(size):
    images = np.stack([noise(1, size)[0], smooth(1, size)[0], np.full((*size, 3), 7.0)])
    images[2, 0, 0] = 9
    found = batch_operations.equalize(tf.constant(images, tf.float32), tf.zeros(3)).numpy()
    for image, equalized in zip(images.astype(np.float32), found, strict=True):
        expected = pixel_operations.equalize(tf.constant(image), tf.constant(0.0)).numpy()
        np.testing.assert_array_equal(equalized, expected)


# what policies do one by one: "continuous", and test_drawn_operations_on_the_device_… below
@pytest.mark.parametrize("name", unless_thorough(list(SPECS), "light", "before jpeg", "cutmix"))
def test_a_batch_on_the_device_equals_that_of_the_cpu(name):
    spec, images = SPECS[name], noise(36, SIZE)
    index, pixels, labels = augmented(images, spec, batch_size=8, seed=3)
    found_index, found, found_labels = augmented(images, spec, batch_size=8, seed=3, on_device=True)
    np.testing.assert_array_equal(found_index, index)
    np.testing.assert_array_equal(found_labels, labels)
    difference = np.abs(found - pixels)
    if spec.rand_augment is None and spec.aug_mix is None:
        assert difference.max() < ROUNDING
    else:
        assert difference.mean() < ROUNDING
        assert (difference > ROUNDING).mean() < 0.01
    assert not np.allclose(pixels, images, atol=1)


@pytest.mark.parametrize("name", unless_thorough(["rand_augment", "aug_mix"], "rand_augment"))
def test_drawn_operations_on_the_device_equal_those_of_the_cpu(name):
    images = np.concatenate([noise(24, SIZE), smooth(24, SIZE)])
    pixels = augmented(images, TRANSFORMS[name])[1]
    found = augmented(images, TRANSFORMS[name], on_device=True)[1]
    for difference in np.split(np.abs(found - pixels), 2):
        # a step of posterisation or equalisation moves few pixels by some levels
        assert (difference > ROUNDING).mean() < 0.02
        assert difference.mean() < ROUNDING


@pytest.mark.parametrize("spec", TRANSFORMS.values(), ids=TRANSFORMS)
def test_only_specifications_that_say_so_need_a_cpu(spec):
    transforms = image_transforms(spec, SIZE, SeedStream())
    assert any(one.apply_to_batch is None for one in transforms) is spec.needs_cpu


def test_nothing_on_the_device_is_a_product_that_a_gpu_rounds():
    """TF32 would keep three digits: a matrix product or convolution of pixels is not allowed."""
    forbidden = {"MatMul", "BatchMatMulV2", "Conv2D", "DepthwiseConv2dNative"}
    every = replace(CONTINUOUS, rand_augment=TRANSFORMS["rand_augment"].rand_augment)
    stream = SeedStream()
    transforms = image_transforms(every, SIZE, stream)

    @tf.function(autograph=False)
    def batch(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        stream.begin(seed)
        for one in transforms:
            drawn = (tf.repeat(draw[tf.newaxis], 2, axis=0) for draw in one.draw())
            images = one.apply_to_batch(images, *drawn)
        return images

    graph = batch.get_concrete_function(
        tf.TensorSpec([2, *SIZE, 3], tf.float32), tf.TensorSpec([2], tf.int32)
    ).graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    assert not forbidden & {node.op for node in nodes}
    assert "ImageProjectiveTransformV3" in {node.op for node in nodes}


def test_an_identity_specification_changes_nothing_on_the_device():
    images = noise(5, SIZE)
    np.testing.assert_array_equal(augmented(images, AugmentSpec(), on_device=True)[1], images)
