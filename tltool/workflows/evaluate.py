"""Measure a trained model or an export on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import is_artifact, load_artifact
from tltool.data.catalog import Catalog, Item, SplitName
from tltool.data.decoding.transcode import read_image_bytes
from tltool.data.splits.split import read_split
from tltool.errors import DataError, UsageError
from tltool.evaluation.metrics.asserts import check_asserts, checked
from tltool.evaluation.metrics.baselines import baselines
from tltool.evaluation.metrics.evaluate_predictions import measured
from tltool.evaluation.metrics.predictions import LabelledPredictions
from tltool.evaluation.metrics.selective import detection_metrics
from tltool.evaluation.metrics.tta_gain import gain_of_copies
from tltool.evaluation.report.advice import seen_in_training
from tltool.evaluation.report.document import Report
from tltool.evaluation.report.page import write_report
from tltool.evaluation.train_overlap import trained_on
from tltool.events import Observer, SilentObserver
from tltool.inference import Predictions, Tta, without_temperature
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.prediction.heat_maps import heat_map_images
from tltool.workflows.prediction.labelled_inputs import read_labelled_inputs, scores_of_ood_images
from tltool.workflows.prediction.model import LoadedModel, load_model
from tltool.workflows.preflight.arguments import check_page


def evaluate(
    model: Path | str,
    photos: Path | str,
    *,
    split: SplitName | None = None,
    asserts: Sequence[str] = (),
    strict: bool = False,
    tta: Tta = "none",
    report: Path | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Return the metrics document of ``model`` on labelled ``photos``; classes match by name.

    Whether ``asserts`` hold stands in the document; ``evaluation.asserts.require`` raises. So does
    ``trained_on``: how many of the images trained the run or chose its best epoch.

    Args:
        model: a run folder or an exported model.
        images: one folder per class, train, val and test folders of such, or any other source.
        split: only the images that the run put into this part (its split.csv decides, by
            content); the run's own figures come out again.
        asserts: conditions to check, such as ``accuracy>=0.9`` and ``recall[bees]>=0.85``.
        strict: check them at the worse end of the 95 % interval.
        tta: average the probabilities over changed copies of each image, flips or crops; the
            document then says under ``tta`` what that gave.
        report: HTML file to write; it may not exist.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means that of the run,
            or square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: no such model, ``split`` with a model that is no run or has no such part, or a
            condition with an unknown metric or class; ``report`` exists or cannot be written.
        DataError: the images cannot be used, or have classes that the model does not know.
    """
    observer = observer or SilentObserver()
    check_asserts(asserts, strict=strict)
    if report is not None:
        check_page(report)
    observer.on_phase("model", str(model))
    opened = load_model(Path(model))
    check_asserts(asserts, opened.class_names)
    observer.on_phase("audit", str(photos))
    found, others = read_labelled_inputs(
        Path(model), photos, pixels=pixels, offline=offline, observer=observer
    )
    items: Sequence[Item] = found.catalog.items
    if split is not None:
        items = _of_split(items, RunLayout(Path(model)), split)
    _check_classes(items, opened, observer)
    catalog = Catalog(found.catalog.root, tuple(items), opened.class_names)
    observer.on_phase("predict", f"{len(items)} images")
    evaluated, plain = _answered(
        opened, catalog, name=split or str(photos), part=split, tta=tta, observer=observer
    )
    metrics = {
        **measured(evaluated),
        "trained_on": trained_on(items, Path(model)),
        "baselines": baselines(catalog),
    }
    _add_others(metrics, evaluated.ood_scores, others, opened, observer)
    seen = seen_in_training(metrics)
    if seen:
        observer.on_message(seen, level="warning")
    if plain is not None:
        gain = gain_of_copies(plain, evaluated.probabilities, catalog.labels())
        metrics["tta"] = {"kind": tta, **gain}
    metrics["asserts"] = checked(asserts, metrics, strict=strict)
    if report is not None:
        name, is_run = Path(model).resolve().name, is_artifact(Path(model))
        heats = heat_map_images(load_artifact(Path(model)), evaluated) if is_run else {}
        origin = _origin(RunLayout(Path(model))) if is_run else None
        told = Report(name, evaluated, metrics, issues=found.issues, origin=origin, heats=heats)
        write_report(report, told)
    return metrics


def _origin(run: RunLayout) -> dict[str, Any] | None:
    """Return the manifest of a run; None where it is gone, damaged or of a later version."""
    try:
        return read_manifest(run.manifest).to_json()
    except DataError:
        return None


def _add_others(
    metrics: dict[str, Any],
    known: np.ndarray | None,
    others: Sequence[Path],
    opened: LoadedModel,
    observer: Observer,
) -> None:
    """Measure how well images of no class are refused, where there are any."""
    if not others:
        return
    if known is not None:
        scores = scores_of_ood_images(opened, others)
        metrics["refusal"]["other"] = detection_metrics(known, scores)
    observer.on_message(
        f"{len(others):,} out-of-distribution images (data.ood_images of the run) are left out of"
        " the accuracy"
    )


def _of_split(items: Sequence[Item], run: RunLayout, split: SplitName) -> list[Item]:
    if not run.split.is_file():
        raise UsageError(
            f"--split needs a run folder; '{run.folder}' has no {run.split.name}",
            hint="leave --split out, or give the folder of the run",
        )
    rows = [row for row in read_split(run.split) if row.split == split]
    if not rows:
        raise UsageError(
            f"the run '{run.folder}' has no {split} part",
            hint="leave --split out, or train with --test FOLDER or --set data.test_fraction=0.2",
        )
    by_content: dict[str, list[Item]] = {}
    for item in items:
        by_content.setdefault(item.sha256, []).append(item)
    found = [_nearest(row.path, by_content.get(row.sha256, [])) for row in rows]
    if None in found:
        raise DataError(
            f"{found.count(None)} of the {len(rows)} images of the {split} part are not in the "
            "folder given",
            hint="give the folder that the run was trained on",
        )
    return [item for item in found if item is not None]


def _nearest(path: Path, same_content: Sequence[Item]) -> Item | None:
    """Return the item at ``path`` among those with the same content, or else the first."""
    ending = [item for item in same_content if item.path.parts[-len(path.parts) :] == path.parts]
    return next(iter([*ending, *same_content]), None)


def _check_classes(items: Sequence[Item], opened: LoadedModel, observer: Observer) -> None:
    """Compare the names of the classes; say which ones the images do not show."""
    known = set(opened.class_names)
    found = {item.label for item in items}
    missing = [name for name in opened.class_names if name not in found]
    if found - known:
        unknown = sorted(found - known)
        without = f"; there are no images of {', '.join(missing)}" if missing else ""
        raise DataError(
            f"the model does not know the class{'es' if len(unknown) > 1 else ''} "
            f"{', '.join(unknown)}; it knows {', '.join(opened.class_names)}{without}",
            hint="rename the folders to the model's class names, or leave these images out",
        )
    if len(found) == 1:
        observer.on_message(
            f"all images are of one class, {min(found)}: how often the model names it wrongly on "
            "others cannot be told",
            level="warning",
        )
    elif missing:
        observer.on_message(f"no images of {', '.join(missing)}: not measured", level="warning")


def _answered(
    opened: LoadedModel,
    photos: Catalog,
    *,
    name: str,
    part: SplitName | None,
    tta: Tta,
    observer: Observer,
) -> tuple[LabelledPredictions, np.ndarray | None]:
    """Return the answers, and the probabilities without changed copies where there are any."""
    given: list[Predictions] = []
    for start in range(0, len(photos), opened.batch_size):
        batch = photos.items[start : start + opened.batch_size]
        given.append(opened.predict([read_image_bytes(item.path) for item in batch], tta=tta))
        observer.on_progress(start + len(batch), len(photos))
    answers = np.concatenate([answer.probabilities for answer in given])
    plain = _joined([answer.without_tta for answer in given])
    evaluated = LabelledPredictions(
        name,
        photos,
        answers,
        # an average over copies has no temperature that could be taken out of it
        without_temperature(answers if plain is None else plain, opened.temperature),
        _joined([answer.ood_scores for answer in given]),
        part,
    )
    return evaluated, plain


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if there else None
