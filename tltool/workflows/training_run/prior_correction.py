"""Prior correction: probabilities of the class frequencies of the training images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tltool.models.network_parts import Network
from tltool.training.imbalance import corrected_logits, loss_weights
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import RunContext

BALANCED = ("weights", "balanced_sampling")  # remedies that train as if classes were equally large


def correct_prior(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> TrainingOutcome:
    """Return the outcome with corrected logits, where the recipe asks for it.

    With class weights or balanced sampling a network learns probabilities of a population in which
    all classes are equally frequent. ``corrected_logits`` gives those of the training images; the
    bias of the last layer of ``network`` is changed accordingly, so that exports need no other
    step.
    """
    recipe = run.recipe
    if not recipe.evaluate.prior_correction or recipe.train.imbalance not in BALANCED:
        return outcome
    weights = _class_weights(dataset)
    network.shift_logits(-np.log(weights))
    run.observer.on_message(
        "prior correction: probabilities follow the class frequencies of the training images"
    )
    probe = outcome.probe_logits
    return replace(
        outcome,
        validation_logits=corrected_logits(outcome.validation_logits, weights),
        probe_logits=None if probe is None else corrected_logits(probe, weights),
    )


def _class_weights(dataset: Dataset) -> NDArray[np.float32]:
    """Return the class weights n / (C n_c), float32 [C]; all 1 where classes are equally large."""
    train = dataset.part("train")
    labels, classes = train.labels(), len(train.class_names)
    individual = np.array([item.weight for item in train.items])[:, np.newaxis]
    weights = loss_weights("weights", labels, np.eye(classes)[labels] * individual)
    return np.ones(classes, np.float32) if weights is None else weights
