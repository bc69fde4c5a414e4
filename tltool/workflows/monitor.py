"""Compare new images with the validation images of a model, and estimate its accuracy on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import read_calibration
from tltool.errors import DataError
from tltool.evaluation.drift.accuracy_estimate import estimate_accuracy
from tltool.evaluation.drift.drift_tests import (
    Sample,
    class_changes,
    confidence_shares,
    find_drift,
)
from tltool.evaluation.drift.monitor_result import MonitorResult, OodRates, UnusualImage
from tltool.evaluation.metrics.asserts import check_drift_asserts, evaluate_drift_asserts
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.evaluation.report.monitor_report import write_monitor_report
from tltool.events import Observer, SilentObserver
from tltool.export.model_folder import class_names_of, version_folder
from tltool.runs.layout import CALIBRATION_FILE, is_artifact
from tltool.training.own_settings import with_own_settings
from tltool.training.reference import Reference
from tltool.workflows.monitoring.label_file import correct_predictions
from tltool.workflows.monitoring.new_images import MonitoredImages, predict_new_images
from tltool.workflows.monitoring.prediction_file import has_predictions
from tltool.workflows.monitoring.prediction_rows import read_prediction_rows
from tltool.workflows.prediction.inputs import list_inputs
from tltool.workflows.prediction.model import load_model
from tltool.workflows.preflight.model_arguments import check_trained_model

_UNUSUAL = 24  # images in the result


@with_own_settings
def monitor(
    model: Path | str,
    images: Path | str | Sequence[Path | str],
    *,
    labels: Path | str | None = None,
    asserts: Sequence[str] = (),
    report: Path | str | None = None,
    pixels: str | None = None,
    trust: bool = False,
    offline: bool = False,
    observer: Observer | None = None,
) -> MonitorResult:
    """Return whether new images differ from the validation images, and an estimate of the accuracy.

    Args:
        model: a run or an export.
        images: image files, folders and other sources, whose labels are ignored; or one file of
            ``tltool predict --output`` or ``tltool serve --log``.
        labels: CSV table with path and label of some images, for the measured accuracy.
        asserts: conditions such as ``drift<=0.2``; the result says which are met.
        report: HTML file to write; it must not exist.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        trust: load the model without a check of its files and operations.
        offline: open no network connection.
        observer: receives progress and messages.

    Raises:
        UsageError: there is no such model, a condition is malformed, or ``pixels`` or ``trust`` is
            given with a file of predictions.
        DataError: the model has no reference statistics, or there are no images.
        GateError: a file of the model has changed.

    Examples:
        >>> result = tltool.monitor("runs/photos", "unlabelled")
        >>> result.drift.n, result.values()["drift"]
        (2, 0.0)
    """
    images = [images] if isinstance(images, (str, Path)) else images
    observer = observer or SilentObserver()
    model = Path(model)
    check_drift_asserts(asserts)
    check_trained_model(model, images=images)
    reference = read_reference(model)
    if has_predictions(images, pixels=pixels, trust=trust):
        names = class_names_of(model) or ()
        observer.on_phase("predictions", str(images[0]))
        monitored = read_prediction_rows(Path(images[0]), model, names, observer)
    else:
        inputs = list_inputs(images, pixels=pixels, offline=offline, observer=observer)
        observer.on_phase("model", str(model))
        loaded = load_model(model, trust=trust)
        names = loaded.class_names
        monitored = predict_new_images(loaded, inputs, observer)
    observer.on_phase("drift", f"{len(monitored.sample):,} images")
    result = _result(model, names, reference, monitored)
    if labels is not None:
        result = replace(result, measured=_measure(Path(labels), names, monitored, observer))
    conditions = evaluate_drift_asserts(asserts, result.values())
    result = replace(result, asserts=tuple(conditions))
    if report is not None:
        observer.on_phase("report", str(report))
        files = dict(zip(monitored.names, monitored.files, strict=False))
        write_monitor_report(Path(report), result, files)
    return result


def read_reference(model: Path) -> Reference:
    """Return the reference statistics of a run or an export.

    Raises:
        DataError: it has none, or the file is damaged.
    """
    folder = model if is_artifact(model) else (version_folder(model) or model) / "assets"
    reference = read_calibration(folder / CALIBRATION_FILE).reference
    if reference is not None and len(reference):
        return reference
    raise DataError(
        f"'{model}' has no reference statistics",
        hint="export its run again and give the new export: tltool export RUN",
    )


def _result(
    model: Path, names: Sequence[str], reference: Reference, monitored: MonitoredImages
) -> MonitorResult:
    sample = monitored.sample
    drift = find_drift(reference, sample, classes=len(names))
    return MonitorResult(
        model.resolve().name,
        drift,
        class_changes(reference, sample, names),
        confidence_shares(reference, sample),
        OodRates(_ood_rate(reference), _ood_rate(sample)),
        estimate_accuracy(reference, sample.confidence),
        None,
        _unusual(monitored, names, drift.feature_scores) if monitored.names else (),
        monitored.failed,
        monitored.copies,
    )


def _ood_rate(images: Reference | Sample) -> float | None:
    return float((images.ood_scores > 1).mean()) if len(images.ood_scores) else None


def _unusual(
    monitored: MonitoredImages, names: Sequence[str], feature_scores: np.ndarray
) -> list[UnusualImage]:
    """Return the images that differ most: by OOD score, else by features, else by confidence."""
    sample = monitored.sample
    scores = sample.ood_scores
    if len(scores):
        order = np.argsort(-scores, kind="stable")
    elif len(feature_scores):
        order = monitored.featured[np.argsort(-feature_scores, kind="stable")]
    else:
        order = np.argsort(sample.confidence, kind="stable")
    return [
        UnusualImage(
            monitored.names[row],
            names[sample.predicted[row]],
            float(sample.confidence[row]),
            float(scores[row]) if len(scores) else None,
        )
        for row in order[:_UNUSUAL]
    ]


def _measure(
    labels: Path, names: Sequence[str], monitored: MonitoredImages, observer: Observer
) -> dict[str, Any]:
    """Return the accuracy on the labelled images, its Wilson interval and their number."""
    predicted = monitored.sample.predicted.tolist()
    correct = correct_predictions(labels, monitored.names, predicted, names, observer)
    return {**rate_of(correct), "n": len(correct)}
