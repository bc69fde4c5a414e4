"""The end of a training run: calibration, evaluation, artifact, gates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import Artifact, Description, save_artifact
from tltool.data.audit.leakage import count_train_overlap
from tltool.errors import GateError
from tltool.evaluation.csv_tables import (
    ValidationRows,
    write_history,
    write_predictions,
    write_validation,
)
from tltool.evaluation.metrics.asserts import evaluate_asserts, require_asserts
from tltool.evaluation.metrics.baselines import compute_baselines
from tltool.evaluation.metrics.confusion_matrix import ConfusionMatrix
from tltool.evaluation.metrics.evaluate_predictions import evaluate_predictions
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.metrics.probe_comparison import compare_with_probe
from tltool.evaluation.plots.confusion_plot import plot_confusion
from tltool.evaluation.plots.history_plot import plot_history
from tltool.evaluation.report.advice import describe_cross_validation
from tltool.evaluation.report.refit_text import BEFORE_REFIT, REFITTED, before_refit
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.evaluation.shared_test_set import find_shared_test_set
from tltool.models import own_model
from tltool.models.network_parts import Network
from tltool.models.regularization import for_inference
from tltool.runs.json_text import to_json
from tltool.storage.durable import write_durably
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.resolve.export_name import export_name
from tltool.workflows.training_run.calibration import CalibrationResult
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.cross_validation import cross_validate_features
from tltool.workflows.training_run.label_error_search import find_label_errors
from tltool.workflows.training_run.predict_part import predict_part
from tltool.workflows.training_run.probe_learning_curve import measure_learning_curve
from tltool.workflows.training_run.report import EvaluatedRun, write_run_report
from tltool.workflows.training_run.time_limit import stop_of_training
from tltool.workflows.training_run.validation_results import validation_figures, validation_rows


def evaluate_best(
    run: RunContext, network: Network, dataset: Dataset, calibrated: CalibrationResult
) -> tuple[Artifact, Mapping[str, Any]]:
    """Evaluate the best model, write the results, and apply the quality gates.

    Args:
        run: the run.
        network: the trained classifier.
        dataset: all parts.
        calibrated: its calibration, features and logits.

    Returns:
        The artifact that may be exported, and the document of metrics.json.

    Raises:
        GateError: the model does not meet the conditions of the recipe.
    """
    with run.phase("evaluation"):
        outcome = calibrated.outcome
        artifact = _artifact(run, network, dataset, calibrated)
        save_artifact(run.layout.folder, artifact)  # before anything that may fail
        predictions, probe = predict_part(run, network, dataset, calibrated)
        validation = validation_rows(dataset, calibrated)
        label_errors = find_label_errors(run, network, dataset, outcome)
        metrics = {
            **_metrics(run, dataset, calibrated, predictions, probe, validation),
            "train_overlap": count_train_overlap(
                dataset.split.names, dataset.clusters, predictions.split or "test"
            ),
            "label_errors": label_errors.figures,
            "learning_curve": measure_learning_curve(run, dataset, outcome),
            "cross_validation": cross_validate_features(run, dataset, outcome),
        }
        _write_tables(run, predictions, metrics, outcome)
        write_validation(run.layout.validation, validation)
        _report_answer(run, metrics)
        _draw_plots(run, predictions, outcome)
        shared = find_shared_test_set(run.layout.folder)
        test_set = shared.summary if shared else ""
        if test_set:
            run.observer.on_message(test_set)
        if run.recipe.evaluate.report:
            evaluation = EvaluatedRun(predictions, metrics, label_errors.labels, test_set)
            write_run_report(run, artifact, dataset, outcome, evaluation)
        _check_gates(run, metrics)
    return artifact, metrics


def _metrics(
    run: RunContext,
    dataset: Dataset,
    calibrated: CalibrationResult,
    predictions: LabelledPredictions,
    probe: np.ndarray | None,
    validation: ValidationRows,
) -> dict[str, Any]:
    """Return the document of metrics.json; ``probe`` are the probabilities of the linear probe."""
    outcome = calibrated.outcome
    evaluate, figures = run.recipe.evaluate, evaluate_predictions(predictions)
    metrics = {
        **figures,
        "selective": {**(calibrated.figures.get("selective") or {}), **figures["selective"]},
        "baselines": compute_baselines(
            predictions.images,
            training_labels=dataset.part("train").labels(),
            probe=probe,
            groups=predictions.group_numbers(),
        ),
        "probe_comparison": _compare_with_probe(outcome, predictions, probe),
        "temperature": calibrated.temperature,
        "calibration": calibrated.figures.get("calibration"),
        "validation": validation_figures(validation),
        "refit": _refit_figures(calibrated, predictions),
        "best": dict(zip(("phase", "epoch"), outcome.best, strict=True)),
        "stopped_by_time_limit": stop_of_training(run),
        "arithmetic": run.machine.precision.arithmetic,
        "probe": _probe_figures(outcome),
    }
    own = run.objects.keras_metrics
    if own is not None:
        labels = predictions.images.labels()
        metrics["keras_metrics"] = own(labels, predictions.probabilities)
    asserts = evaluate_asserts(evaluate.asserts, metrics, strict=evaluate.strict)
    return {**metrics, "asserts": asserts}


def _compare_with_probe(
    outcome: TrainingOutcome, predictions: LabelledPredictions, probe: np.ndarray | None
) -> dict[str, Any] | None:
    """Return how much training gained over the probe; None if the model is the probe."""
    if probe is None or outcome.best[0] == "probe":
        return None
    return compare_with_probe(
        probe,
        predictions.probabilities,
        predictions.images.labels(),
        predictions.group_numbers(),
    )


def _refit_figures(
    calibrated: CalibrationResult, predictions: LabelledPredictions
) -> dict[str, Any] | None:
    """Return size and epochs of the refit, and which model the metrics are of."""
    if calibrated.refit is None:
        return None
    evaluated = REFITTED if predictions.split == "test" else BEFORE_REFIT
    return {**calibrated.refit, "evaluated": evaluated}


def _probe_figures(outcome: TrainingOutcome) -> dict[str, float] | None:
    if outcome.probe is None:
        return None
    return {
        "strength": outcome.probe.strength,
        "cross_validated_accuracy": outcome.probe.accuracy,
        "cross_validated_log_loss": outcome.probe.loss,
    }


def _report_answer(run: RunContext, metrics: Mapping[str, Any]) -> None:
    """Report the accuracy and where the run is: plots, report and export take longer than it."""
    for sentence in describe_cross_validation(metrics):
        run.observer.on_message(sentence)
    run.observer.on_message(f"{describe_accuracy(metrics)}; the run is in {run.layout.folder}")


def _write_tables(
    run: RunContext,
    predictions: LabelledPredictions,
    metrics: Mapping[str, Any],
    outcome: TrainingOutcome,
) -> None:
    """Write metrics.json, predictions.csv and history.csv into the run folder."""
    layout, catalog = run.layout, predictions.images
    write_durably(layout.metrics, f"{to_json(metrics)}\n".encode())
    paths = [_relative(item.path, catalog.root) for item in catalog.items]
    write_predictions(
        layout.predictions,
        paths,
        catalog.labels(),
        predictions.probabilities,
        catalog.class_names,
        predictions.groups,
        predictions.ood_scores,
    )
    write_history(layout.history, outcome.history)


def _draw_plots(
    run: RunContext, predictions: LabelledPredictions, outcome: TrainingOutcome
) -> None:
    """Draw the confusion matrix and the curves into the run folder."""
    layout, catalog = run.layout, predictions.images
    layout.plots.mkdir(exist_ok=True)
    matrix = ConfusionMatrix.count(
        catalog.labels(),
        predictions.probabilities.argmax(axis=1),
        classes=len(catalog.class_names),
    )
    plot_confusion(layout.plots / "confusion_matrix.png", matrix, catalog.class_names)
    rows = before_refit(outcome.history)
    plot_history(layout.plots / "history.png", rows, best=outcome.best_row)


def _artifact(
    run: RunContext, network: Network, dataset: Dataset, calibrated: CalibrationResult
) -> Artifact:
    """Return the trained model with everything that must travel with it."""
    recipe, backbone = run.recipe, run.spec.backbone
    description = Description(
        name=export_name(recipe, run.options),
        class_names=dataset.catalog.class_names,
        decode=run.spec.decode,
        backbone=backbone.name,
        head=network.head,
        arithmetic=run.machine.precision.arithmetic,
        batch_size=recipe.train.batch_size,
        temperature=calibrated.temperature,
        licence=backbone.licence if recipe.model.weights != "random" else "none",
        own_backbone=own_model.to_json(backbone) if backbone.file else None,
    )
    inference = Network(for_inference(network.model), network.backbone, network.head)
    return Artifact(inference, description, calibrated.calibration)


def _check_gates(run: RunContext, metrics: Mapping[str, Any]) -> None:
    """Check the quality gates of the recipe: evaluate.min_accuracy and evaluate.asserts.

    Raises:
        GateError: the model does not pass one.
    """
    required, accuracy = run.recipe.evaluate.min_accuracy, metrics["accuracy"]["value"]
    if accuracy < required:
        raise GateError(
            f"accuracy {accuracy:.4f} on the {metrics['evaluated_on']} set is below "
            f"evaluate.min_accuracy {required}; nothing was exported",
            hint=f"the run is kept in {run.layout.folder}",
        )
    require_asserts(
        metrics["asserts"],
        hint=f"nothing was exported; the run is kept in {run.layout.folder}",
    )


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
