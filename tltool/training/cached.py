"""Phases on cached features: an epoch never runs the frozen part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tltool.features.extract import Features
from tltool.features.views import rows_of_epoch
from tltool.training.loop import Batch, PhaseData
from tltool.training.measure import HeadLogits, Pooling, batched, loss_and_accuracy


def head_data(
    views: Sequence[Features],
    held: Features,
    held_labels: np.ndarray,
    *,
    head: HeadLogits,
    batch_size: int,
    seed: int,
) -> PhaseData:
    """Return the data of the head phase: pooled features of all views."""
    return PhaseData(
        batches=_batches(views, lambda view: view.pooled, batch_size=batch_size, seed=seed),
        validate=lambda: loss_and_accuracy(head(held.pooled), held_labels),
    )


def finetune_data(
    views: Sequence[Features],
    held: Features,
    held_labels: np.ndarray,
    *,
    to_pooled: Pooling,
    head: HeadLogits,
    batch_size: int,
    seed: int,
) -> PhaseData:
    """Return the data of the fine-tune phase: activations of all views at the cut."""

    def validate() -> dict[str, float]:
        return loss_and_accuracy(head(pooled_from_cut(held, to_pooled, batch_size)), held_labels)

    return PhaseData(
        batches=_batches(views, _activations, batch_size=batch_size, seed=seed), validate=validate
    )


def pooled_from_cut(features: Features, to_pooled: Pooling, batch_size: int) -> np.ndarray:
    """Return pooled features float32 [N, D] computed from cached activations."""
    return np.concatenate([to_pooled(part) for part in batched(_activations(features), batch_size)])


def _activations(features: Features) -> np.ndarray:
    if features.activations is None:
        raise ValueError("these features were extracted without a cut")
    return features.activations


def _batches(
    views: Sequence[Features],
    inputs: Callable[[Features], np.ndarray],
    *,
    batch_size: int,
    seed: int,
) -> Callable[[int], Iterable[Batch]]:
    """Return the batches of an epoch; each photo comes once, in one of its views."""

    def of_epoch(epoch: int) -> Iterable[Batch]:
        rows = rows_of_epoch(views, seed=seed, epoch=epoch)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            yield (
                np.stack([inputs(views[view])[row] for view, row in part]),
                np.stack([views[view].labels[row] for view, row in part]),
            )

    return of_epoch
