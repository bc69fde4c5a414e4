"""How far to trust the trained model: temperature, prediction sets, reject option."""

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
from tltool.training.ood import (
    MOST_FEATURES,
    OutlierDetector,
    fit_detector,
    why_no_detector,
)
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import Session
from tltool.workflows.training_run.trainer import Learning


@dataclass(frozen=True)
class CalibrationResult:
    """What was found on the validation part.

    Attributes:
        temperature: divides the logits before the softmax.
        calibration: travels with the model.
        figures: for metrics.json: ``calibration`` and ``selective``, where they are wanted.
    """

    temperature: float
    calibration: Calibration
    figures: dict[str, Any]


def calibrate(learning: Learning, learned: TrainingOutcome, photos: Dataset) -> CalibrationResult:
    """Return temperature, scores for prediction sets, and the detector of other images."""
    session, labels = learning.session, learning.held.labels
    figures: dict[str, Any] = {}
    temperature = 1.0
    if session.recipe.evaluate.calibrate:
        found = choose_temperature(learned.held_logits, labels)
        temperature, figures["calibration"] = found.value, found.to_json()
        _tell_refused(session, found)
    probabilities = softmax(learned.held_logits, temperature)
    draws = np.array([uniform_draw(item.sha256) for item in photos.part("validation").items])
    conformity = np.sort(conformity_scores(probabilities, labels, draws))
    detector = None
    if session.recipe.evaluate.coverage is not None:
        detector, figures["selective"] = _detector(learning, learned, photos)
    return CalibrationResult(temperature, Calibration(detector, conformity), figures)


def _tell_refused(session: Session, found: Temperature) -> None:
    if found.skipped:
        session.observer.on_message(
            f"temperature scaling skipped: {found.reason}; probabilities are left uncalibrated"
        )


def _detector(
    learning: Learning, learned: TrainingOutcome, photos: Dataset
) -> tuple[OutlierDetector | None, dict[str, Any] | None]:
    """Return the detector with its border, and what is known of it."""
    session = learning.session
    coverage = session.recipe.evaluate.coverage
    assert coverage is not None
    pooled, labels = learned.train_pooled()
    if pooled.shape[-1] > MOST_FEATURES:
        session.observer.on_message(
            f"no reject option: the head leaves {pooled.shape[-1]:,} features, and it is made for "
            f"heads that pool, with at most {MOST_FEATURES:,}",
            level="warning",
        )
        return None, None
    plain = fit_detector(pooled, labels)
    if plain is None:
        why = why_no_detector(pooled, labels)
        session.observer.on_message(f"no reject option: {why}", level="warning")
        return None, None
    held = plain.scores(learned.held_pooled)
    if not photos.ood_images:
        border = threshold_for_coverage(held, coverage)
        return plain.with_threshold(border), {
            "target_coverage": coverage,
            "ood_threshold_set_on": "validation images",
        }
    others = _scores_of(learning, plain, photos.ood_images)
    border = threshold_between_scores(held, others, coverage)
    figures = ood_detection_metrics(
        (held / border).astype(np.float32), (others / border).astype(np.float32)
    )
    area = figures["auroc"]
    session.observer.on_message(
        f"reject option: {np.mean(held <= border):.1%} of {len(held)} validation images are kept, "
        f"{figures['detected']['value']:.1%} of {len(others)} other images refused; area under the "
        f"curve {area['value']:.3f} (95 % interval {area['low']:.3f} to {area['high']:.3f})"
    )
    told = {
        "target_coverage": coverage,
        "ood_threshold_set_on": "validation and OOD images",
        "ood": figures,
    }
    return plain.with_threshold(border), told


def _scores_of(learning: Learning, detector: OutlierDetector, files: Sequence[Path]) -> np.ndarray:
    """Return the scores of readable images that are none of the classes, [K]."""
    session, size = learning.session, learning.train.batch_size
    classifier = Classifier(learning.network, precision=session.machine.precision)
    decode = decoder(learning.train.decode)
    parts = []
    for start in range(0, len(files), size):
        contents = [read_image_bytes(path) for path in files[start : start + size]]
        images, _ = decode(contents)
        parts.append(detector.scores(classifier.pooled(images)))
        session.observer.on_progress(start + len(contents), len(files))
    return np.concatenate(parts)
