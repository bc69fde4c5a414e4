"""Measure a trained model or an export on labelled photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.audit import audit
from tltool.data.catalog import Catalog, Item, SplitName
from tltool.data.sources.open import read_source
from tltool.data.split import read_split
from tltool.data.transcode import read_image_bytes
from tltool.errors import DataError, UsageError
from tltool.evaluation.metrics import compute_metrics
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import DataSection
from tltool.runs.layout import RunLayout
from tltool.workflows.models import OpenModel, open_model


def evaluate(
    model: Path | str,
    photos: Path | str,
    *,
    split: SplitName | None = None,
    pixels: str | None = None,
    offline: bool = False,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Return the metrics document of ``model`` on labelled ``photos``; classes match by name.

    Args:
        model: a run folder or an exported model.
        photos: one folder per class, train, val and test folders of such, or any other source.
        split: only the photos that the run put into this part (its split.csv decides, by
            content); the run's own figures come out again.
        pixels: shape of the images in a table of pixels, HxW or HxWx3; None means square.
        offline: open no network connection.
        observer: told about the progress.

    Raises:
        UsageError: no such model, or ``split`` with a model that is no run.
        DataError: the photos cannot be used, or have classes that the model does not know.
    """
    observer = observer or SilentObserver()
    observer.on_phase("model", str(model))
    opened = open_model(Path(model))
    observer.on_phase("audit", str(photos))
    found = _audited(photos, pixels, offline=offline, observer=observer)
    items: Sequence[Item] = found.items
    if split is not None:
        items = _of_split(items, RunLayout(Path(model)), split)
    _check_classes(items, opened)
    catalog = Catalog(found.root, tuple(items), opened.class_names)
    observer.on_phase("predict", f"{len(items)} photos")
    probabilities = _probabilities(opened, items, observer)
    metrics = compute_metrics(probabilities, catalog.labels(), opened.class_names)
    return {"evaluated_on": split or str(photos), **metrics}


def _audited(
    photos: Path | str, pixels: str | None, *, offline: bool, observer: Observer
) -> Catalog:
    settings = DataSection()
    checked = audit(
        read_source(photos, min_classes=1, pixels=pixels, offline=offline, observer=observer),
        on_bad="skip",
        max_bad_fraction=1.0,
        max_pixels=settings.max_pixels,
        observer=observer,
    )
    return checked.catalog


def _of_split(items: Sequence[Item], run: RunLayout, split: SplitName) -> list[Item]:
    if not run.split.is_file():
        raise UsageError(
            f"--split needs a run folder; '{run.folder}' has no {run.split.name}",
            hint="leave --split out, or give the folder of the run",
        )
    rows = [row for row in read_split(run.split) if row.split == split]
    by_content: dict[str, list[Item]] = {}
    for item in items:
        by_content.setdefault(item.sha256, []).append(item)
    found = [_nearest(row.path, by_content.get(row.sha256, [])) for row in rows]
    if None in found:
        raise DataError(
            f"{found.count(None)} of the {len(rows)} photos of the {split} part are not in the "
            "folder given",
            hint="give the folder that the run was trained on",
        )
    return [item for item in found if item is not None]


def _nearest(path: Path, same_content: Sequence[Item]) -> Item | None:
    """Return the item at ``path`` among those with the same content, or else the first."""
    ending = [item for item in same_content if item.path.parts[-len(path.parts) :] == path.parts]
    return next(iter([*ending, *same_content]), None)


def _check_classes(items: Sequence[Item], opened: OpenModel) -> None:
    unknown = sorted({item.label for item in items} - set(opened.class_names))
    if unknown:
        raise DataError(
            f"the model does not know the class{'es' if len(unknown) > 1 else ''} "
            f"{', '.join(unknown)}; it knows {', '.join(opened.class_names)}",
            hint="rename the folders to the model's class names, or leave these photos out",
        )


def _probabilities(opened: OpenModel, items: Sequence[Item], observer: Observer) -> np.ndarray:
    parts: list[np.ndarray] = []
    done = 0
    for start in range(0, len(items), opened.batch_size):
        batch = items[start : start + opened.batch_size]
        probabilities, _ = opened.predict([read_image_bytes(item.path) for item in batch])
        parts.append(probabilities)
        done += len(batch)
        observer.on_progress(done, len(items))
    return np.concatenate(parts)
