"""Calibration of the trained model: temperature, prediction sets, OOD threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.artifact import Calibration
from tltool.data.decoding.transcode import read_image_bytes
from tltool.evaluation.calibration.ood_threshold import (
    OodThreshold,
    describe_threshold,
    images_for_confidence,
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
from tltool.training.reference import make_reference
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.ood_scores import in_distribution_scores
from tltool.workflows.training_run.prior_correction import correct_prior, requested_log_prior


@dataclass(frozen=True)
class CalibrationResult:
    """What was fitted on the validation images.

    Attributes:
        temperature: divides the logits before the softmax.
        outcome: of training, with logits after the prior correction of the recipe.
        calibration: travels with the model.
        figures: for metrics.json: ``calibration`` and ``selective``, where the recipe has them.
        logit_shift: prior correction that was added to the logits, float64 [C]; None for none.
        validation_ood_scores: of the validation images, float32 [V]; None without a detector.
        refit: numbers of images and epochs of the refit that followed; None without one. Everything
            of validation images is then of the model before.
    """

    temperature: float
    outcome: TrainingOutcome
    calibration: Calibration
    figures: dict[str, Any]
    logit_shift: NDArray[np.float64] | None
    validation_ood_scores: NDArray[np.float32] | None
    refit: Mapping[str, int] | None = None


def calibrate(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> CalibrationResult:
    """Return temperature, scores for prediction sets, and the OOD detector of the best model."""
    with run.phase("calibration"):
        return _calibrate(run, network, dataset, outcome)


def _calibrate(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> CalibrationResult:
    validation = dataset.part("validation")
    labels, log_prior = validation.labels(), requested_log_prior(run, dataset)
    groups = dataset.groups("validation")
    figures: dict[str, Any] = {}
    temperature = 1.0
    if run.recipe.evaluate.calibrate:
        fitted = choose_temperature(
            outcome.validation_logits, labels, groups=groups, log_prior=log_prior
        )
        temperature, figures["calibration"] = fitted.value, fitted.to_json()
        _report_skipped(run, fitted)
    outcome = correct_prior(network, outcome, log_prior, temperature)
    draws = np.array([uniform_draw(item.sha256) for item in validation.items])
    probabilities = softmax(outcome.validation_logits, temperature)
    scores = conformity_scores(probabilities, labels, draws)
    order = np.argsort(scores, kind="stable")
    detector = None
    if run.recipe.evaluate.coverage is not None:
        detector = _fit_detector(run, outcome)
        figures["selective"] = None
    if detector is not None:
        detector, figures["selective"] = _set_threshold(run, network, dataset, outcome, detector)
    ood_scores = detector.scores(outcome.validation_pooled) if detector else None
    reference = make_reference(
        probabilities,
        labels,
        groups=groups,
        ood_scores=ood_scores,
        pooled=outcome.validation_pooled,
    )
    return CalibrationResult(
        temperature,
        outcome,
        Calibration(detector, scores[order], labels[order], groups[order], reference),
        figures,
        logit_shift=None if log_prior is None else temperature * log_prior,
        validation_ood_scores=ood_scores,
    )


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
    settings = run.recipe.evaluate
    assert settings.coverage is not None
    known = in_distribution_scores(dataset, outcome, detector)
    how: dict[str, Any] = {
        "coverage": settings.coverage,
        "groups": known.groups,
        "confidence": settings.coverage_confidence,
    }
    if not dataset.ood_images:
        threshold = threshold_for_coverage(known.scores, **how)
        figures = _threshold_figures(run, threshold, known.images)
        return detector.with_threshold(threshold.value), figures
    ood = _scores_of(run, network, detector, dataset.ood_images)
    threshold = threshold_between_scores(known.scores, ood, **how)
    figures = _threshold_figures(run, threshold, f"{known.images}, and OOD images")
    validation = detector.scores(outcome.validation_pooled)
    figures["ood"] = ood_detection_metrics(
        (validation / threshold.value).astype(np.float32),
        (ood / threshold.value).astype(np.float32),
    )
    detected, area = figures["ood"]["detected"], figures["ood"]["auroc"]
    run.observer.on_message(
        f"{np.mean(validation <= threshold.value):.1%} of {len(validation)} validation "
        f"images are accepted, {detected['value']:.1%} of {len(ood)} OOD images are "
        f"rejected; AUROC {area['value']:.3f} (95 % interval {area['low']:.3f} to "
        f"{area['high']:.3f})"
    )
    return detector.with_threshold(threshold.value), figures


def _threshold_figures(run: RunContext, threshold: OodThreshold, set_on: str) -> dict[str, Any]:
    """Return what metrics.json says of the OOD threshold, and report it."""
    settings = run.recipe.evaluate
    assert settings.coverage is not None
    run.observer.on_message(describe_threshold(threshold))
    wanted = settings.coverage_confidence
    if wanted is not None and threshold.confidence < wanted:
        needed = images_for_confidence(settings.coverage, wanted)
        run.observer.on_message(
            f"evaluate.coverage_confidence {wanted:g} with a coverage of {settings.coverage:g} "
            f"needs {needed} independent images; the OOD threshold is just above the largest "
            f"score, and the confidence is {threshold.confidence:.2f}",
            level="warning",
        )
    return {
        "target_coverage": settings.coverage,
        "coverage_confidence": wanted,
        "ood_threshold_set_on": set_on,
        **threshold.to_json(),
    }


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
