"""Phases on the images themselves: new augmentation in every epoch, the usual way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.phase_plan import AugmentationSchedule, Batch, PhaseData
from tltool.training.validation import HeadLogits, Pooling, loss_and_accuracy


def live_data(
    train: ImageSource,
    held: ImageSource,
    *,
    changes: AugmentationSchedule,
    to_pooled: Pooling,
    head: HeadLogits,
    sampler: Sampler,
    first_epoch: int,
) -> PhaseData:
    """Return the data of a live phase.

    Args:
        train: training images.
        held: validation images.
        changes: of the training images.
        to_pooled: images to pooled features.
        head: pooled features to logits.
        sampler: which images an epoch takes.
        first_epoch: added to the phase's epochs, so that no two phases see the same draws.
    """

    def batches(epoch: int) -> Iterable[Batch]:
        mixed = epoch <= changes.mixed_epochs
        augment = changes.photos if mixed else changes.photos.unmixed()
        for _, images, labels in train.drawn(augment, sampler, epoch=first_epoch + epoch):
            yield images, labels

    def validate() -> dict[str, float]:
        logits = [head(to_pooled(images)) for _, images, _ in held.plain()]
        return loss_and_accuracy(np.concatenate(logits), held.labels)

    return PhaseData(batches=batches, validate=validate)
