"""Data of a phase without cache: images, augmented anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.phase_plan import AugmentationSchedule, Batch, PhaseData
from tltool.training.validation import HeadLogits, Measure, Pooling, loss_and_accuracy


def live_data(
    train: ImageSource,
    validation: ImageSource,
    *,
    augmentation: AugmentationSchedule,
    to_pooled: Pooling,
    head: HeadLogits,
    measure: Measure = loss_and_accuracy,
    sampler: Sampler,
    first_epoch: int,
) -> PhaseData:
    """Return the data of a phase that runs on images.

    Args:
        train: training images.
        validation: validation images.
        augmentation: of the training images.
        to_pooled: images to pooled features.
        head: pooled features to logits.
        measure: logits [N, C] and class numbers [N] to validation metrics.
        sampler: draws the images of an epoch.
        first_epoch: added to the epoch numbers, so that phases differ in their random draws.
    """

    def batches(epoch: int) -> Iterable[Batch]:
        mixed = epoch <= augmentation.mixed_epochs
        spec = augmentation.images if mixed else augmentation.images.unmixed()
        for _, images, labels in train.sampled(spec, sampler, epoch=first_epoch + epoch):
            yield images, labels

    def validate() -> dict[str, float]:
        logits = [head(to_pooled(images)) for _, images, _ in validation.original()]
        return measure(np.concatenate(logits), validation.labels)

    return PhaseData(batches=batches, validate=validate)
