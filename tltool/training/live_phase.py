"""Data of a phase without cache: images, augmented anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import tensorflow as tf

from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.training.agreement import has_peers, own_devices
from tltool.training.batch_parts import own_rows
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
    strategy: tf.distribute.Strategy | None = None,
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
        strategy: devices; of several workers each reads only its rows. None for one process.
    """

    def batches(epoch: int) -> Iterable[Batch]:
        mixed = epoch <= augmentation.mixed_epochs
        spec = augmentation.images if mixed else augmentation.images.unmixed()
        number = first_epoch + epoch
        if strategy is None or not has_peers(strategy):
            for _, images, labels in train.sampled(spec, sampler, epoch=number):
                yield images, labels
            return
        own = own_devices(strategy)
        rows = partial(own_rows, devices=strategy.num_replicas_in_sync, own=own)
        left = len(train)
        for _, images, labels in train.sampled(spec, sampler, epoch=number, rows=rows):
            size = min(left, train.batch_size)
            yield images, labels, size
            left -= size

    def validate() -> dict[str, float]:
        logits = [head(to_pooled(images)) for _, images, _ in validation.original()]
        return measure(np.concatenate(logits), validation.labels)

    return PhaseData(batches=batches, validate=validate)
