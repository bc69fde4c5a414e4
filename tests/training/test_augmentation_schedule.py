"""How phases augment images and features, and when they stop blending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tltool.augment.spec import AugmentSpec, FeatureSpec, WithProbability
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.features.extract import Features
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.cached_phase import finetune_data, head_data
from tltool.training.live_phase import live_data
from tltool.training.phase_plan import AugmentationSchedule

COUNT = 12
SAMPLER = Sampler(np.zeros(COUNT, np.int64), seed=0)


class Column:
    """Activations in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def take(self, rows: Sequence[int]) -> np.ndarray:
        return self.values[list(rows)]


def views_of(number: int) -> list[Features]:
    """Views whose features hold the number of their view; labels are the images themselves."""
    rng = np.random.default_rng(0)
    return [
        Features(
            index=np.arange(COUNT),
            labels=np.eye(COUNT, dtype=np.float32),
            pooled=(rng.normal(0, 0.1, (COUNT, 5)) + 10 * view).astype(np.float32),
            activations=Column(rng.normal(0, 0.1, (COUNT, 3, 3, 2)) + 10 * view),
        )
        for view in range(number)
    ]


def batches(schedule: AugmentationSchedule, epoch: int, *, phase: str = "head", views: int = 3):
    make: Any = {"head": head_data, "finetune": finetune_data}[phase]
    more = {} if phase == "head" else {"to_pooled": None}
    data = make(
        views_of(views), views_of(1)[0], np.zeros(COUNT), head=None, batch_size=4,
        sampler=SAMPLER, augmentation=schedule, **more,
    )  # fmt: skip
    parts = list(data.batches(epoch))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def test_without_augmentation_features_are_used_as_stored():
    inputs, labels = batches(AugmentationSchedule(AugmentSpec(), FeatureSpec(), 3), 1)
    assert set(np.round(inputs.mean(axis=1)).astype(int)) == {0, 10, 20}
    np.testing.assert_array_equal(np.sort(labels.argmax(axis=1)), np.arange(COUNT))


@pytest.mark.parametrize("phase", ["head", "finetune"])
def test_blended_views_are_excluded_from_the_last_epochs(phase):
    schedule = AugmentationSchedule(AugmentSpec(mixup=0.2), FeatureSpec(), mixed_epochs=3)
    axes = {"head": 1, "finetune": (1, 2, 3)}[phase]
    blended = batches(schedule, 3, phase=phase)[0].mean(axis=axes)
    original = batches(schedule, 4, phase=phase)[0].mean(axis=axes)
    assert set(np.round(blended).astype(int)) == {0, 10, 20}
    assert set(np.round(original).astype(int)) == {0}


def test_views_that_are_not_blended_are_used_to_the_end():
    schedule = AugmentationSchedule(AugmentSpec(flip="horizontal"), FeatureSpec(), mixed_epochs=3)
    assert set(np.round(batches(schedule, 4)[0].mean(axis=1)).astype(int)) == {0, 10, 20}


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_features_are_not_blended_in_the_last_epochs(name):
    schedule = AugmentationSchedule(AugmentSpec(), FeatureSpec(**{name: 1.0}), mixed_epochs=3)
    assert (batches(schedule, 3, phase="finetune")[1].max(axis=1) < 1).any()
    assert (batches(schedule, 4, phase="finetune")[1].max(axis=1) == 1).all()


@pytest.mark.parametrize("phase", ["head", "finetune"])
@pytest.mark.parametrize(
    "spec",
    [
        FeatureSpec(mixup=1.0),
        FeatureSpec(cutmix=1.0),
        FeatureSpec(noise=0.5),
        FeatureSpec(mixstyle=WithProbability(1.0, 1.0)),
    ],
    ids=lambda spec: spec.names[0],
)
def test_features_are_augmented_differently_in_every_epoch_but_equally_in_every_run(phase, spec):
    if phase == "head" and spec.needs_maps:
        pytest.skip("works on maps")
    schedule = AugmentationSchedule(AugmentSpec(), spec, mixed_epochs=9)
    once = batches(schedule, 1, phase=phase, views=1)[0]
    np.testing.assert_array_equal(once, batches(schedule, 1, phase=phase, views=1)[0])
    original = batches(
        AugmentationSchedule(AugmentSpec(), FeatureSpec(), 9), 1, phase=phase, views=1
    )[0]
    assert not np.allclose(once, original)
    other = batches(schedule, 2, phase=phase, views=1)[0]
    assert not np.allclose(np.sort(once.ravel()), np.sort(other.ravel()))


@pytest.mark.thorough
def test_live_images_are_not_blended_in_the_last_epochs(make_photos):
    items = read_folder(make_photos(n=4, size=24)).items
    numbers = np.array([item.label == "dog" for item in items], np.int64)
    source = ImageSource(items, numbers, 2, DecodeSpec(16, 16), batch_size=8)
    data = live_data(
        source, source,
        augmentation=AugmentationSchedule(AugmentSpec(mixup=1.0), FeatureSpec(), mixed_epochs=1),
        to_pooled=None, head=None, sampler=Sampler(numbers, seed=0), first_epoch=0,
    )  # fmt: skip
    labels = {epoch: next(iter(data.batches(epoch)))[1].numpy() for epoch in (1, 2)}
    assert (labels[1].max(axis=1) < 1).any()
    assert (labels[2].max(axis=1) == 1).all()
