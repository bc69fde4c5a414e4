"""The predictions of the trained model, and of the linear probe, for the final evaluation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tltool.data.catalog import SplitName
from tltool.evaluation.calibration.temperature import choose_temperature
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.inference import Classifier, softmax
from tltool.models.network_parts import Network
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.splitting import group_names
from tltool.workflows.training_run.calibration import CalibrationResult
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.linear_probe import vectors


def predict_part(
    run: RunContext,
    network: Network,
    dataset: Dataset,
    calibrated: CalibrationResult,
) -> tuple[LabelledPredictions, np.ndarray | None]:
    """Return predictions for the test set, or else for the validation set.

    Returns:
        The predictions of the best model, and the probabilities of the probe for the same images,
        float32 [N, C], calibrated in the same way; None without a probe.
    """
    name: SplitName = "test" if len(dataset.split.indices("test")) else "validation"
    outcome = calibrated.outcome
    logits, probe_logits = outcome.validation_logits, outcome.probe_logits
    ood_scores, detector = calibrated.validation_ood_scores, calibrated.calibration.detector
    if name == "test":
        pooled, logits, probe_logits = _predict_test(run, network, dataset, outcome)
        ood_scores = detector.scores(pooled) if detector else None
    predictions = LabelledPredictions(
        name,
        dataset.part(name),
        softmax(logits, calibrated.temperature),
        uncalibrated=softmax(logits),
        ood_scores=ood_scores,
        split=name,
        groups=_group_names(dataset, name),
    )
    if probe_logits is None:
        return predictions, None
    return predictions, softmax(probe_logits, _probe_temperature(run, dataset, outcome))


def _group_names(dataset: Dataset, name: SplitName) -> list[str]:
    """Return the name of the group of each image of a part; empty for a single image."""
    names = group_names(dataset.catalog, dataset.clusters)
    return [names[index] for index in dataset.split.indices(name)]


def _probe_temperature(run: RunContext, dataset: Dataset, outcome: TrainingOutcome) -> float:
    if not run.recipe.evaluate.calibrate or outcome.probe_logits is None:
        return 1.0
    return choose_temperature(outcome.probe_logits, dataset.part("validation").labels()).value


def _predict_test(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return input and output of the head for the test images, and logits of the probe."""
    classifier = Classifier(network, precision=run.machine.precision)
    batch_size = run.recipe.train.batch_size
    test = dataset.source("test", decode=run.spec.decode, batch_size=batch_size)
    done, current, original = 0, [], []
    for _, images, _ in test.original():
        batch = tf.convert_to_tensor(images)
        if outcome.pretrained_pooled is None:
            current.append(classifier.pooled(batch))
        else:
            now, before = outcome.pretrained_pooled(batch)
            current.append(now)
            original.append(vectors(before))
        done += len(current[-1])
        run.observer.on_progress(done, len(test))
    pooled = np.concatenate(current)
    probe = outcome.probe.logits(np.concatenate(original)) if outcome.probe and original else None
    return pooled, classifier.pooled_to_logits(pooled), probe
