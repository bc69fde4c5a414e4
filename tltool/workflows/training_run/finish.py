"""The end of a training run: evaluation, artifact, export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.artifact import Artifact, Description, save_artifact
from tltool.data.audit.leakage import count_train_overlap
from tltool.data.catalog import SplitName
from tltool.data.decoding.decode import DecodeSpec
from tltool.errors import GateError
from tltool.evaluation.csv_tables import write_history, write_predictions
from tltool.evaluation.metrics.asserts import evaluate_asserts, require_asserts
from tltool.evaluation.metrics.baselines import compute_baselines
from tltool.evaluation.metrics.evaluate_predictions import evaluate_predictions
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.plots.confusion_plot import plot_confusion
from tltool.evaluation.plots.history_plot import plot_history
from tltool.features.image_source import ImageSource
from tltool.inference import Classifier, softmax
from tltool.models.network_parts import Network
from tltool.models.regularization import for_inference
from tltool.runs.json_text import to_json
from tltool.training.outcome import TrainingOutcome
from tltool.training.validation import loss_and_accuracy
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.calibration import CalibrationResult, calibrate
from tltool.workflows.training_run.context import Session
from tltool.workflows.training_run.label_errors import find_label_errors
from tltool.workflows.training_run.report import write_run_report
from tltool.workflows.training_run.setup import test_part
from tltool.workflows.training_run.trainer import Learning


def finish_run(
    learning: Learning, photos: Dataset, learned: TrainingOutcome
) -> tuple[Artifact, dict[str, Any]]:
    """Calibrate, evaluate, write the results, keep the artifact; refuse a model below the bar.

    Args:
        learning: the trained network.
        images: all parts.
        learned: what it makes of the images.

    Returns:
        What is exported, and the document of metrics.json.

    Raises:
        GateError: the model is not as good as the recipe wants.
    """
    session = learning.session
    trust = calibrate(learning, learned, photos)
    evaluated = _evaluated(learning, photos, learned, trust)
    suspects = find_label_errors(learning, photos)
    metrics = {
        **_metrics(learning, evaluated, learned, trust),
        "train_overlap": count_train_overlap(
            photos.split.names, photos.clusters, evaluated.split or "test"
        ),
        "label_errors": suspects.figures,
    }
    _write_results(learning, evaluated, metrics)
    names, decode = photos.catalog.class_names, learning.train.decode
    description = _description(learning, names, decode, temperature=trust.temperature)
    trained = learning.network
    network = Network(for_inference(trained.model), trained.backbone, trained.head)
    artifact = Artifact(network, description, trust.calibration)
    save_artifact(session.run.folder, artifact)
    if session.recipe.evaluate.report:
        write_run_report(learning, artifact, photos, evaluated, metrics, suspects.labels)
    _check_gates(session, metrics)
    return artifact, metrics


def _evaluated(
    learning: Learning, photos: Dataset, learned: TrainingOutcome, trust: CalibrationResult
) -> LabelledPredictions:
    """Return the best model's answers to the test part, or to validation without one."""
    test = test_part(learning, photos)
    if test is None:
        pooled, logits = learned.held_pooled, learned.held_logits
    else:
        pooled, logits = _pooled_and_logits(learning, test)
    name: SplitName = "validation" if test is None else "test"
    detector = trust.calibration.detector
    return LabelledPredictions(
        name,
        photos.part(name),
        softmax(logits, trust.temperature),
        uncalibrated=softmax(logits),
        ood_scores=detector.scores(pooled) if detector else None,
        split=name,
    )


def _metrics(
    learning: Learning,
    evaluated: LabelledPredictions,
    learned: TrainingOutcome,
    trust: CalibrationResult,
) -> dict[str, Any]:
    """Return the document of metrics.json."""
    recipe = learning.session.recipe
    figures = evaluate_predictions(evaluated)
    metrics = {
        **figures,
        "selective": {**(trust.figures.get("selective") or {}), **figures["selective"]},
        "baselines": compute_baselines(
            evaluated.images,
            training_labels=learning.train.labels,
            probe_logits=learning.probe_logits,
            validation_labels=learning.held.labels,
        ),
        "temperature": trust.temperature,
        "calibration": trust.figures.get("calibration"),
        "validation": loss_and_accuracy(learned.held_logits, learning.held.labels),
        "best": {"phase": learning.best.phase, "epoch": learning.best.epoch},
        "arithmetic": learning.session.machine.precision.arithmetic,
        "probe": _probe_figures(learning),
    }
    asserts = evaluate_asserts(recipe.evaluate.asserts, metrics, strict=recipe.evaluate.strict)
    return {**metrics, "asserts": asserts}


def _write_results(
    learning: Learning, evaluated: LabelledPredictions, metrics: Mapping[str, Any]
) -> None:
    """Write metrics.json, predictions.csv, history.csv and the plots into the run folder."""
    run, photos = learning.session.run, evaluated.images
    run.metrics.write_text(to_json(metrics) + "\n", "utf-8")
    paths = [_relative(item.path, photos.root) for item in photos.items]
    write_predictions(
        run.predictions, paths, photos.labels(), evaluated.probabilities, photos.class_names
    )
    write_history(run.history, learning.history)
    run.plots.mkdir(exist_ok=True)
    matrix = metrics["confusion_matrix"]
    plot_confusion(run.plots / "confusion_matrix.png", matrix, photos.class_names)
    plot_history(run.plots / "history.png", learning.history, best=learning.best_row)


def _check_gates(session: Session, metrics: Mapping[str, Any]) -> None:
    """Refuse a model below the recipe's evaluate.min_accuracy or against its evaluate.asserts.

    Raises:
        GateError: it is.
    """
    wanted = session.recipe.evaluate.min_accuracy
    reached = metrics["accuracy"]["value"]
    if reached < wanted:
        raise GateError(
            f"accuracy {reached:.4f} on the {metrics['evaluated_on']} part is below "
            f"evaluate.min_accuracy {wanted}; nothing was exported",
            hint=f"the run is kept in {session.run.folder}",
        )
    require_asserts(
        metrics["asserts"],
        hint=f"nothing was exported; the run is kept in {session.run.folder}",
    )


def _description(
    learning: Learning, class_names: tuple[str, ...], decode: DecodeSpec, *, temperature: float
) -> Description:
    """Return what must travel with the model."""
    session = learning.session
    return Description(
        name=session.recipe.name,
        class_names=class_names,
        decode=decode,
        backbone=session.backbone.name,
        head=learning.network.head,
        arithmetic=session.machine.precision.arithmetic,
        batch_size=learning.train.batch_size,
        temperature=temperature,
        licence=session.backbone.licence if session.recipe.model.weights != "random" else "none",
    )


def _pooled_and_logits(learning: Learning, source: ImageSource) -> tuple[np.ndarray, np.ndarray]:
    classifier = Classifier(learning.network, precision=learning.session.machine.precision)
    done, parts = 0, []
    for _, images, _ in source.plain():
        parts.append(classifier.pooled(tf.convert_to_tensor(images)))
        done += len(parts[-1])
        learning.session.observer.on_progress(done, len(source))
    pooled = np.concatenate(parts)
    return pooled, classifier.pooled_to_logits(pooled)


def _probe_figures(learning: Learning) -> dict[str, float] | None:
    if learning.probe is None:
        return None
    return {
        "strength": learning.probe.strength,
        "cross_validated_accuracy": learning.probe.accuracy,
        "cross_validated_log_loss": learning.probe.loss,
    }


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
