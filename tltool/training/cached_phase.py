"""Data of a phase on cached features: no epoch runs the frozen layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tltool.augment.feature_space import augment_features
from tltool.features.extract import Features
from tltool.features.sampler import Sampler, rows_of_epoch
from tltool.features.stored_rows import Rows
from tltool.training.phase_plan import AugmentationSchedule, Batch, PhaseData
from tltool.training.validation import HeadLogits, Measure, Pooling, loss_and_accuracy


def head_data(
    views: Sequence[Features],
    validation: Features,
    validation_labels: np.ndarray,
    *,
    head: HeadLogits,
    measure: Measure = loss_and_accuracy,
    batch_size: int,
    sampler: Sampler,
    augmentation: AugmentationSchedule,
) -> PhaseData:
    """Return the data of the head phase: pooled features of all views."""
    return PhaseData(
        batches=_batches(
            views, _pooled_rows, batch_size=batch_size, sampler=sampler, augmentation=augmentation
        ),
        validate=lambda: measure(head(validation.pooled), validation_labels),
    )


def finetune_data(
    views: Sequence[Features],
    validation: Features,
    validation_labels: np.ndarray,
    *,
    to_pooled: Pooling,
    head: HeadLogits,
    measure: Measure = loss_and_accuracy,
    batch_size: int,
    sampler: Sampler,
    augmentation: AugmentationSchedule,
) -> PhaseData:
    """Return the data of the fine-tune phase: activations of all views at the cut."""

    def validate() -> dict[str, float]:
        pooled = pooled_from_cut(validation, to_pooled, batch_size)
        return measure(head(pooled), validation_labels)

    return PhaseData(
        batches=_batches(
            views,
            _activation_rows,
            batch_size=batch_size,
            sampler=sampler,
            augmentation=augmentation,
        ),
        validate=validate,
    )


def pooled_from_cut(features: Features, to_pooled: Pooling, batch_size: int) -> np.ndarray:
    """Return pooled features float32 [N, D] computed from cached activations."""
    column = _activations(features)
    starts = range(0, len(column), batch_size)
    return np.concatenate([to_pooled(column.read(at, at + batch_size)) for at in starts])


def _activations(features: Features) -> Rows:
    if features.activations is None:
        raise ValueError("these features were extracted without a cut")
    return features.activations


def _pooled_rows(features: Features, rows: Sequence[int]) -> np.ndarray:
    return features.pooled[list(rows)]


def _activation_rows(features: Features, rows: Sequence[int]) -> np.ndarray:
    return _activations(features).take(rows)


def _batches(
    views: Sequence[Features],
    inputs: Callable[[Features, Sequence[int]], np.ndarray],
    *,
    batch_size: int,
    sampler: Sampler,
    augmentation: AugmentationSchedule,
) -> Callable[[int], Iterable[Batch]]:
    """Return the batches of an epoch: images as sampled, each in one of its cached views."""

    def of_epoch(epoch: int) -> Iterable[Batch]:
        mixed = epoch <= augmentation.mixed_epochs
        blended = augmentation.images.mixes and not mixed
        # only the first view holds images that are not blended
        rows = rows_of_epoch(views[:1] if blended else views, sampler, epoch)
        features = augmentation.features if mixed else augmentation.features.unmixed()
        for number, start in enumerate(range(0, len(rows), batch_size)):
            part = rows[start : start + batch_size].tolist()
            values = np.concatenate([inputs(views[view], [row]) for view, row in part])
            labels = np.stack([views[view].labels[row] for view, row in part])
            if features.identity:
                yield values, labels
            else:
                key = (sampler.seed, epoch, number)
                yield augment_features(values, labels, features, key=key)

    return of_epoch
