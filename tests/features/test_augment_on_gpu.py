"""Augmentation in batches on a GPU; without one the same code runs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.augment.transforms import TRANSFORMS
from tests.conftest import unless_thorough
from tltool.augment.spec import AugmentSpec, WithProbability
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.features.image_source import ImageSource
from tltool.features.pass_reader import Batch
from tltool.features.sampler import Sampler

SPECS = {
    "geometry and blends": AugmentSpec(flip="horizontal", crop=(0.5, 1.5), mixup=0.4, cutmix=1.0),
    "jpeg": AugmentSpec(jpeg=WithProbability(60, 0.5), cutout=0.5, rotation=20),
    "none": AugmentSpec(),
}


def rows(batches: Iterator[Batch]) -> list[np.ndarray]:
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


@pytest.fixture
def source(make_photos: Callable[..., Path]) -> ImageSource:
    """Ten images of two classes with weights, in batches of four."""
    items = read_folder(make_photos(n=5, size=24)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    weights = np.linspace(0.5, 2, len(items)).astype(np.float32)
    return ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4, weights=weights)


@pytest.mark.parametrize("name", unless_thorough([*SPECS], "geometry and blends"))
def test_views_and_epochs_equal_those_of_the_cpu(source, name):
    spec, on_gpu = SPECS[name], replace(source, augment_on_gpu=True)
    sampler = Sampler(source.labels, seed=3, balanced=True)
    for number in (1, 2):
        for one, other in (
            (source.augmented, on_gpu.augmented),
            (source.sampled, on_gpu.sampled),
        ):
            settings = {"seed": 3} if one == source.augmented else {"sampler": sampler}
            expected = rows(one(spec, **settings, epoch=number))
            index, images, labels = rows(other(spec, **settings, epoch=number))
            np.testing.assert_array_equal(index, expected[0])
            np.testing.assert_allclose(images, expected[1], atol=0.01)
            np.testing.assert_array_equal(labels, expected[2])


@pytest.mark.thorough
def test_a_resumed_view_gives_exactly_the_remaining_images(source):
    on_gpu = replace(source, augment_on_gpu=True)
    spec = replace(
        SPECS["geometry and blends"], rand_augment=TRANSFORMS["rand_augment"].rand_augment
    )
    whole = rows(on_gpu.augmented(spec, seed=3, epoch=2))
    rest = rows(on_gpu.augmented(spec, seed=3, epoch=2, start=4))
    for one, other in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(one[4:], other)
