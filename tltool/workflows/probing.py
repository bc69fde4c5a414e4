"""The probe of a run: solved or found again, told, and given to the head."""

from __future__ import annotations

from typing import Any

import numpy as np

from tltool.events import Observer
from tltool.features.views import PhotoSource
from tltool.models.network import Network
from tltool.training.measure import loss_and_accuracy
from tltool.training.probe import Probe, fit_probe
from tltool.workflows.balance import Balance
from tltool.workflows.passes import Passes
from tltool.workflows.session import Session


def vectors(pooled: np.ndarray) -> np.ndarray:
    """Return the head's input as vectors [N, D]; feature maps [N, h, w, D] are averaged."""
    return pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled


def solve_probe(
    session: Session, passes: Passes, balance: Balance, train: PhotoSource, features: np.ndarray
) -> Probe:
    """Return the probe on ``features`` float32 [N, D] of the training photos."""
    recipe = session.recipe
    how: dict[str, Any] = {
        "classes": train.classes,
        "strengths": list(recipe.train.probe.strengths),
        "folds": recipe.train.probe.folds,
        "seed": recipe.seed,
    }
    weights = balance.of_photos()
    return passes.probe(
        train.digest(),
        {**how, "imbalance": recipe.train.imbalance},
        solve=lambda: fit_probe(features, train.labels, weights=weights, **how),
    )


def tell_probe(observer: Observer, probe: Probe, features: np.ndarray, held: PhotoSource) -> None:
    """Tell what the probe reaches on the validation photos, and warn where that is chance."""
    measures = loss_and_accuracy(probe.logits(features), held.labels)
    observer.on_epoch(0, 0, measures)
    majority = np.bincount(held.labels, minlength=held.classes).max()
    if measures["val_accuracy"] <= majority / len(held):
        observer.on_message(
            "a linear probe on the pretrained features does no better than always naming the "
            "most frequent class: check the labels, the photos and the weights",
            level="warning",
        )


def set_linear_head(network: Network, probe: Probe) -> None:
    """Give the probe's solution to a head that is linear in the pooled features."""
    kernel, bias = network.head_variables()
    kernel.assign(probe.kernel.reshape(kernel.shape))
    bias.assign(probe.bias)
