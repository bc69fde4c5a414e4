"""Prior correction: probabilities of the class frequencies of the training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tltool.features.image_source import weighted_one_hot
from tltool.models.network_parts import Network
from tltool.training.imbalance import log_prior, loss_weights
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import RunContext

_BALANCED = ("weights", "balanced_sampling")  # they train as if all classes were equally large


def requested_log_prior(run: RunContext, dataset: Dataset) -> NDArray[np.float64] | None:
    """Return what the recipe adds to calibrated logits, float64 [C]; None for no correction.

    With class weights or balanced sampling a network learns probabilities of a population in which
    all classes are equally frequent; ``log_prior`` gives those of the training images.
    """
    recipe = run.recipe
    if not recipe.evaluate.prior_correction or recipe.train.imbalance not in _BALANCED:
        return None
    train = dataset.part("train")
    labels, classes = train.labels(), len(train.class_names)
    individual = train.columns.rows["weight"].copy()
    rows = weighted_one_hot(labels, individual, classes, np.float64)
    weights = loss_weights("weights", labels, rows)
    run.observer.on_message(
        "prior correction: probabilities follow the class frequencies of the training images"
    )
    return None if weights is None else log_prior(weights)


def correct_prior(
    network: Network,
    outcome: TrainingOutcome,
    shift: NDArray[np.float64] | None,
    temperature: float,
) -> TrainingOutcome:
    """Add ``shift`` [C] to the logits after their division by ``temperature``.

    For that the bias of the last layer of ``network`` changes by ``temperature`` times ``shift``,
    so that predictions and exports need no other step.

    Returns:
        the outcome with the new logits.
    """
    if shift is None:
        return outcome
    network.shift_logits(temperature * shift)
    probe = outcome.probe_logits
    return replace(
        outcome,
        validation_logits=_shifted(outcome.validation_logits, temperature * shift),
        probe_logits=None if probe is None else _shifted(probe, shift),
    )


def _shifted(logits: np.ndarray, shift: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(logits + shift, np.float32)
