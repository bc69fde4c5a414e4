"""The probe of a run: solved or found again, told, and given to the head."""

from __future__ import annotations

from typing import Any

import numpy as np

from tltool.features.views import PhotoSource
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


def is_no_better_than_chance(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Tell whether always naming the most frequent class would be right as often.

    Args:
        logits: float32 [N, C].
        labels: int [N].
    """
    right = np.count_nonzero(logits.argmax(axis=1) == labels)
    return bool(right <= np.bincount(labels).max())


def tell_probe(
    session: Session, probe: Probe, features: np.ndarray, held: PhotoSource
) -> dict[str, float]:
    """Return what the probe reaches on the validation photos, and warn where that is chance."""
    logits = probe.logits(features)
    reached = loss_and_accuracy(logits, held.labels)
    session.observer.on_epoch(0, 0, reached)
    if is_no_better_than_chance(logits, held.labels):
        advice = (
            "its weights are random, so that this says little"
            if has_random_weights(session)
            else "check the labels, the photos and the weights"
        )
        session.observer.on_message(
            f"a linear probe on the {features_told(session)} does no better than always naming "
            f"the most frequent class: {advice}",
            level="warning",
        )
    return reached


def has_random_weights(session: Session) -> bool:
    """Tell whether the network began with weights that nobody has trained."""
    return bool(session.facts.get("weights", {}).get("source") == "random")


def features_told(session: Session) -> str:
    """Return what the features of untouched photos are called."""
    return "random features" if has_random_weights(session) else "pretrained features"


def tell_worse_than_probe(
    session: Session, head: str, logits: np.ndarray, probe: np.ndarray, labels: np.ndarray
) -> None:
    """Warn where a head that began at random has not come as far as the probe.

    Args:
        session: the run.
        head: kind of the head.
        logits: of the kept model for the validation photos, float32 [V, C].
        probe: of the probe for the same.
        labels: of these photos, int [V].
    """
    monitor = session.recipe.train.early_stopping.monitor
    reached, before = (loss_and_accuracy(one, labels)[monitor] for one in (logits, probe))
    if reached > before if monitor == "val_loss" else reached < before:
        session.observer.on_message(
            f"the head '{head}' ended worse than the linear probe ({monitor} {reached:.4g} against "
            f"{before:.4g}): train it longer, or set model.head.kind to gap, which begins as the "
            "probe",
            level="warning",
        )
