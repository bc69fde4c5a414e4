"""The end of a training run: evaluation, artifact, export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tltool.artifact import Description
from tltool.data.decode import DecodeSpec
from tltool.errors import GateError
from tltool.evaluation.metrics import compute_metrics
from tltool.evaluation.plots import plot_confusion, plot_history
from tltool.evaluation.temperature import fit_temperature
from tltool.evaluation.writers import write_history, write_predictions
from tltool.features.views import PhotoSource
from tltool.inference import Classifier, softmax
from tltool.training.measure import loss_and_accuracy
from tltool.workflows.learn import Learning
from tltool.workflows.photos import Photos
from tltool.workflows.session import Session


def temperature_of(session: Session, logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature fitted on the validation part, or 1 if the recipe wants none."""
    return fit_temperature(logits, labels) if session.recipe.evaluate.calibrate else 1.0


def evaluate_run(
    learning: Learning,
    photos: Photos,
    held_logits: np.ndarray,
    *,
    temperature: float,
    test: PhotoSource | None,
) -> dict[str, Any]:
    """Evaluate the best model on the test part, or on validation without one; write the results.

    Returns:
        The document of metrics.json.
    """
    session, name = learning.session, "validation"
    logits, source = held_logits, learning.held
    if test is not None:
        name, source = "test", test
        logits = _logits_of(learning, test)
    probabilities = softmax(logits, temperature)
    part = photos.part("test" if test is not None else "validation")
    metrics: dict[str, Any] = {
        "evaluated_on": name,
        **compute_metrics(probabilities, source.labels, part.class_names),
        "log_loss_uncalibrated": loss_and_accuracy(logits, source.labels)["val_loss"],
        "temperature": temperature,
        "validation": loss_and_accuracy(held_logits, learning.held.labels),
        "best": {"phase": learning.best.phase, "epoch": learning.best.epoch},
        "arithmetic": session.machine.precision.arithmetic,
        "probe": _probe_figures(learning),
    }
    run = session.run
    run.metrics.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", "utf-8")
    write_predictions(
        run.predictions,
        [_relative(item.path, photos.catalog.root) for item in part.items],
        source.labels,
        probabilities,
        part.class_names,
    )
    write_history(run.history, learning.history)
    run.plots.mkdir(exist_ok=True)
    plot_confusion(
        run.plots / "confusion_matrix.png", metrics["confusion_matrix"], part.class_names
    )
    plot_history(run.plots / "history.png", learning.history, best=_best_row(learning))
    return metrics


def check_accuracy(session: Session, metrics: Mapping[str, Any]) -> None:
    """Refuse a model below the recipe's evaluate.min_accuracy.

    Raises:
        GateError: the accuracy is lower.
    """
    wanted = session.recipe.evaluate.min_accuracy
    reached = metrics["accuracy"]["value"]
    if reached < wanted:
        raise GateError(
            f"accuracy {reached:.4f} on the {metrics['evaluated_on']} part is below "
            f"evaluate.min_accuracy {wanted}; nothing was exported",
            hint=f"the run is kept in {session.run.folder}",
        )


def describe(
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


def _logits_of(learning: Learning, source: PhotoSource) -> np.ndarray:
    classifier = Classifier(learning.network, precision=learning.session.machine.precision)
    done, parts = 0, []
    for _, images, _ in source.plain():
        parts.append(classifier.logits(tf.convert_to_tensor(images)))
        done += len(parts[-1])
        learning.session.observer.on_progress(done, len(source))
    return np.concatenate(parts)


def _probe_figures(learning: Learning) -> dict[str, float] | None:
    if learning.probe is None:
        return None
    return {
        "strength": learning.probe.strength,
        "cross_validated_accuracy": learning.probe.accuracy,
        "cross_validated_log_loss": learning.probe.loss,
    }


def _best_row(learning: Learning) -> int | None:
    wanted = (learning.best.phase, learning.best.epoch)
    keys = [(row["phase"], row["epoch"]) for row in learning.history]
    return keys.index(wanted) if wanted in keys else None


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
