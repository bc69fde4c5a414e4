"""Evaluate a trained or exported model on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import load_artifact
from tltool.data.audit.audit import Audit
from tltool.data.catalog import Catalog, Item, SplitName
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.splits.split import read_split
from tltool.errors import DataError, some_of
from tltool.evaluation.metrics.asserts import check_asserts, evaluate_asserts
from tltool.evaluation.metrics.baselines import compute_baselines
from tltool.evaluation.metrics.evaluate_predictions import evaluate_predictions
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.metrics.ood_detection import ood_detection_metrics
from tltool.evaluation.metrics.tta_gain import tta_gain
from tltool.evaluation.report.advice import describe_train_overlap
from tltool.evaluation.report.content import Report
from tltool.evaluation.report.evaluation_report import write_report
from tltool.evaluation.report.refit_text import after_refit
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.evaluation.train_overlap import train_overlap
from tltool.events import Observer, SilentObserver
from tltool.features.out_of_memory import micro_batches, reported_to
from tltool.inference import Predictions, Tta, without_temperature
from tltool.runs.layout import RunLayout, is_artifact
from tltool.runs.manifest import read_manifest
from tltool.storage.durable import new_file
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.splitting import find_duplicates, group_names
from tltool.workflows.prediction.heat_maps import heat_map_images
from tltool.workflows.prediction.labelled_inputs import read_labelled_inputs, scores_of_ood_images
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.preflight.arguments import check_page
from tltool.workflows.preflight.model_arguments import check_known_classes, rows_of_split


@with_own_settings
def evaluate(
    model: Path | str,
    data: Path | str,
    *,
    split: SplitName | None = None,
    asserts: Sequence[str] = (),
    strict: bool = False,
    tta: Tta = "none",
    report: Path | str | None = None,
    pixels: str | None = None,
    trust: bool = False,
    offline: bool = False,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Return the metrics document of ``model`` on labelled ``data``; classes are matched by name.

    The document says under ``asserts`` which conditions are met; ``require_asserts`` of
    ``evaluation.metrics.asserts`` raises if one is not. It says under ``train_overlap`` how many of
    the images the run used for training and for validation, and under ``refit`` if it used both.

    Args:
        model: a run folder or an exported model.
        data: one folder per class, train, val and test folders of such, or any other source.
        split: only the images of this split of the run, by content: reproduces the run's own
            metrics, except those of the validation split if the run has a refit.
        asserts: conditions to check, such as ``accuracy>=0.9`` and ``recall[bees]>=0.85``.
        strict: check them on the worse bound of the 95 % confidence interval.
        tta: test-time augmentation: over which views to average; the document has its gain.
        report: HTML file to write; it must not exist.
        pixels: shape of images in a table of pixels, HxW or HxWx3; by default the run's or square.
        trust: load the model without a check of its files and operations.
        offline: open no network connection.
        observer: receives progress and messages.

    Raises:
        UsageError: there is no such model, or it has no such split; a condition has an unknown
            metric or class; ``report`` exists or cannot be written.
        DataError: the images cannot be used, or have classes that the model does not know; the
            model has operations that are not allowed.
        GateError: a file of the model has changed.

    Examples:
        >>> tltool.evaluate("runs/photos", "photos")["n"]
        42
    """
    observer = observer or SilentObserver()
    check_asserts(asserts, strict=strict)
    if report is not None:
        check_page(Path(report))
    observer.on_phase("model", str(model))
    loaded = load_model(Path(model), trust=trust)
    check_asserts(asserts, loaded.class_names)
    observer.on_phase("audit", str(data))
    audited, ood_images = read_labelled_inputs(
        Path(model),
        data,
        class_names=loaded.class_names,
        pixels=pixels,
        offline=offline,
        observer=observer,
    )
    images = _select_images(audited, loaded, Path(model), split, observer)
    observer.on_phase("predict", f"{len(images)} images")
    predictions, without_tta = _predict(
        loaded,
        images,
        name=split or str(data),
        split=split,
        groups=_group_names(images, Path(model), observer),
        tta=tta,
        observer=observer,
    )
    metrics = _metrics(predictions, Path(model), observer)
    if ood_images:
        _add_ood_metrics(metrics, predictions.ood_scores, ood_images, loaded, observer)
    if without_tta is not None:
        gain = tta_gain(
            without_tta,
            predictions.probabilities,
            images.labels(),
            groups=predictions.group_numbers(),
        )
        metrics["tta"] = {"kind": tta, **gain}
    metrics["asserts"] = evaluate_asserts(asserts, metrics, strict=strict)
    if report is not None:
        observer.on_message(describe_accuracy(metrics))
        observer.on_phase("report", str(report))
        _write_report(Path(report), Path(model), predictions, metrics, audited)
    return metrics


def _select_images(
    audited: Audit, loaded: LoadedModel, model: Path, split: SplitName | None, observer: Observer
) -> Catalog:
    """Return the images to evaluate on, with the classes of the model."""
    items: Sequence[Item] = audited.catalog.items
    if split is not None:
        items = _items_of_split(items, RunLayout(model), split)
    _check_classes(items, loaded, observer)
    return Catalog(audited.catalog.root, tuple(items), loaded.class_names)


def _metrics(predictions: LabelledPredictions, model: Path, observer: Observer) -> dict[str, Any]:
    """Return the metrics with baselines; warn of data leakage."""
    metrics = {
        **evaluate_predictions(predictions),
        "train_overlap": train_overlap(predictions.images.items, model),
        "refit": after_refit(_manifest(RunLayout(model))),
        "baselines": compute_baselines(predictions.images, groups=predictions.group_numbers()),
    }
    leakage = describe_train_overlap(metrics)
    if leakage:
        observer.on_message(leakage, level="warning")
    return metrics


def _write_report(
    path: Path,
    model: Path,
    predictions: LabelledPredictions,
    metrics: dict[str, Any],
    audited: Audit,
) -> None:
    is_run = is_artifact(model)
    report = Report(
        model.resolve().name,
        predictions,
        metrics,
        issues=audited.issues,
        manifest=_manifest(RunLayout(model)) if is_run else None,
        heat_maps=heat_map_images(load_artifact(model, trust=True), predictions) if is_run else {},
    )
    with new_file(path) as part:
        write_report(part, report)


def _manifest(run: RunLayout) -> dict[str, Any] | None:
    """Return the manifest of a run; None if it is missing, damaged or of a later version."""
    try:
        return read_manifest(run.manifest).to_json()
    except DataError:
        return None


def _add_ood_metrics(
    metrics: dict[str, Any],
    in_distribution_scores: np.ndarray | None,
    ood_images: Sequence[Path],
    loaded: LoadedModel,
    observer: Observer,
) -> None:
    """Add how well out-of-distribution images are detected, if the model has an OOD detector."""
    if in_distribution_scores is not None:
        ood_scores = scores_of_ood_images(loaded, ood_images)
        metrics["selective"]["ood"] = ood_detection_metrics(in_distribution_scores, ood_scores)
    observer.on_message(
        f"{len(ood_images):,} out-of-distribution images (data.ood_images of the run) are not part "
        "of the accuracy"
    )


def _items_of_split(items: Sequence[Item], run: RunLayout, split: SplitName) -> list[Item]:
    rows = rows_of_split(run, split)
    by_content: dict[str, list[Item]] = {}
    for item in items:
        by_content.setdefault(item.sha256, []).append(item)
    matches = [_nearest(row.path, by_content.get(row.sha256, [])) for row in rows]
    if None in matches:
        raise DataError(
            f"{matches.count(None)} of the {len(rows)} images of the {split} set are not in the "
            "data given",
            hint="give the data that the run was trained on",
        )
    present = [item for item in matches if item is not None]
    if not run.corrections.is_file():
        return present
    return [replace(item, label=row.label) for item, row in zip(present, rows, strict=True)]


def _group_names(images: Catalog, model: Path, observer: Observer) -> tuple[str, ...]:
    """Return the name of the group of each image; empty for a single image.

    Groups are those of the source, those of the run for images that it lists, and near duplicates.
    """
    listed = RunLayout(model).split
    rows = read_split(listed) if listed.is_file() else ()
    known = {row.sha256: row.group for row in rows if row.group}
    items = tuple(
        replace(item, group=item.group or known.get(item.sha256)) for item in images.items
    )
    grouped = replace(images, items=items)
    return group_names(grouped, find_duplicates(grouped, observer))


def _nearest(path: Path, same_content: Sequence[Item]) -> Item | None:
    """Return the item at ``path`` among those with the same content, or else the first."""
    same_path = [item for item in same_content if item.path.parts[-len(path.parts) :] == path.parts]
    return next(iter([*same_path, *same_content]), None)


def _check_classes(items: Sequence[Item], loaded: LoadedModel, observer: Observer) -> None:
    """Raise for classes that the model does not know; warn of classes without images."""
    present = {item.label for item in items}
    check_known_classes(present, loaded.class_names)
    missing = [name for name in loaded.class_names if name not in present]
    if len(present) == 1:
        observer.on_message(
            f"all images are of one class, {min(present)}: its false positives cannot be measured",
            level="warning",
        )
    elif missing:
        observer.on_message(f"no images of {some_of(missing)}: not evaluated", level="warning")


def _predict(
    loaded: LoadedModel,
    images: Catalog,
    *,
    name: str,
    split: SplitName | None,
    groups: Sequence[str],
    tta: Tta,
    observer: Observer,
) -> tuple[LabelledPredictions, np.ndarray | None]:
    """Return the predictions, and with test-time augmentation the probabilities without it."""
    batches: list[Predictions] = []
    with micro_batches(reported_to(observer)):
        for start in range(0, len(images), loaded.batch_size):
            items = images.items[start : start + loaded.batch_size]
            batches.append(loaded.predict(_contents(items), tta=tta))
            observer.on_progress(start + len(items), len(images))
    probabilities = np.concatenate([batch.probabilities for batch in batches])
    without_tta = _concatenate([batch.without_tta for batch in batches])
    predictions = LabelledPredictions(
        name,
        images,
        probabilities,
        # the temperature can only be undone for a single prediction, not for an average
        without_temperature(
            probabilities if without_tta is None else without_tta, loaded.temperature
        ),
        _concatenate([batch.ood_scores for batch in batches]),
        split,
        groups,
    )
    return predictions, without_tta


def _contents(items: Sequence[Item]) -> list[bytes]:
    return [read_image_bytes(item.path, sha256=item.sha256) for item in items]


def _concatenate(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
