"""Calibration of the trained model: temperature, prediction sets, OOD threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import Calibration
from tltool.data.decoding.transcode import read_image_bytes
from tltool.evaluation.calibration.ood_threshold import (
    threshold_between_scores,
    threshold_for_coverage,
)
from tltool.evaluation.calibration.prediction_sets import conformity_scores, uniform_draw
from tltool.evaluation.calibration.temperature import Temperature, choose_temperature
from tltool.evaluation.metrics.ood_detection import ood_detection_metrics
from tltool.inference import Classifier, decoder, softmax
from tltool.models.network_parts import Network
from tltool.training.ood import (
    MAX_FEATURES,
    OutlierDetector,
    fit_detector,
    why_no_detector,
)
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import RunContext


@dataclass(frozen=True)
class CalibrationResult:
    """What was fitted on the validation images.

    Attributes:
        temperature: divides the logits before the softmax.
        calibration: travels with the model.
        figures: for metrics.json: ``calibration`` and ``selective``, where the recipe has them.
    """

    temperature: float
    calibration: Calibration
    figures: dict[str, Any]


def calibrate(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> CalibrationResult:
    """Return temperature, scores for prediction sets, and the OOD detector."""
    validation = dataset.part("validation")
    logits, labels = outcome.validation_logits, validation.labels()
    figures: dict[str, Any] = {}
    temperature = 1.0
    if run.recipe.evaluate.calibrate:
        fitted = choose_temperature(logits, labels, groups=dataset.groups("validation"))
        temperature, figures["calibration"] = fitted.value, fitted.to_json()
        _report_skipped(run, fitted)
    draws = np.array([uniform_draw(item.sha256) for item in validation.items])
    conformity = np.sort(conformity_scores(softmax(logits, temperature), labels, draws))
    detector = None
    if run.recipe.evaluate.coverage is not None:
        detector = _fit_detector(run, outcome)
        figures["selective"] = None
    if detector is not None:
        detector, figures["selective"] = _set_threshold(run, network, dataset, outcome, detector)
    return CalibrationResult(temperature, Calibration(detector, conformity), figures)


def _report_skipped(run: RunContext, fitted: Temperature) -> None:
    if fitted.skipped:
        run.observer.on_message(
            f"temperature scaling skipped: {fitted.reason}; probabilities are left uncalibrated"
        )


def _fit_detector(run: RunContext, outcome: TrainingOutcome) -> OutlierDetector | None:
    """Return the OOD detector without a threshold; None, and a warning, where there is none."""
    pooled, labels = outcome.train_pooled()
    if pooled.shape[-1] > MAX_FEATURES:
        run.observer.on_message(
            f"no OOD detection: the head leaves {pooled.shape[-1]:,} features, and the detector "
            f"takes at most {MAX_FEATURES:,}, as heads that pool have",
            level="warning",
        )
        return None
    detector = fit_detector(pooled, labels)
    if detector is None:
        why = why_no_detector(pooled, labels)
        run.observer.on_message(f"no OOD detection: {why}", level="warning")
    return detector


def _set_threshold(
    run: RunContext,
    network: Network,
    dataset: Dataset,
    outcome: TrainingOutcome,
    detector: OutlierDetector,
) -> tuple[OutlierDetector, dict[str, Any]]:
    """Return the detector with its threshold, and how well it separates images of no class."""
    coverage = run.recipe.evaluate.coverage
    assert coverage is not None
    validation = detector.scores(outcome.validation_pooled)
    if not dataset.ood_images:
        threshold = threshold_for_coverage(validation, coverage)
        return detector.with_threshold(threshold), {
            "target_coverage": coverage,
            "ood_threshold_set_on": "validation images",
        }
    ood = _scores_of(run, network, detector, dataset.ood_images)
    threshold = threshold_between_scores(validation, ood, coverage)
    figures = ood_detection_metrics(
        (validation / threshold).astype(np.float32), (ood / threshold).astype(np.float32)
    )
    area = figures["auroc"]
    run.observer.on_message(
        f"OOD threshold: {np.mean(validation <= threshold):.1%} of {len(validation)} validation "
        f"images are accepted, {figures['detected']['value']:.1%} of {len(ood)} OOD images are "
        f"rejected; AUROC {area['value']:.3f} (95 % interval {area['low']:.3f} to "
        f"{area['high']:.3f})"
    )
    set_on = {
        "target_coverage": coverage,
        "ood_threshold_set_on": "validation and OOD images",
    }
    return detector.with_threshold(threshold), {**set_on, "ood": figures}


def _scores_of(
    run: RunContext, network: Network, detector: OutlierDetector, files: Sequence[Path]
) -> np.ndarray:
    """Return the scores of readable OOD images, [K]."""
    size = run.recipe.train.batch_size
    classifier = Classifier(network, precision=run.machine.precision)
    decode = decoder(run.spec.decode)
    parts = []
    for start in range(0, len(files), size):
        contents = [read_image_bytes(path) for path in files[start : start + size]]
        images, _ = decode(contents)
        parts.append(detector.scores(classifier.pooled(images)))
        run.observer.on_progress(start + len(contents), len(files))
    return np.concatenate(parts)
