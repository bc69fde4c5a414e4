"""Look for wrong labels: at the end of a run, or in images of which nothing was trained yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.data.splits.split import shown_path
from tltool.evaluation.label_errors import LabelErrors, find_label_issues, write_label_errors
from tltool.evaluation.report.content import LabelErrorExample
from tltool.models.network_parts import Network
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.splitting import groups_of
from tltool.workflows.training_run.linear_probe import describe_features, is_no_better_than_chance
from tltool.workflows.training_run.trainer import Learning

_STRENGTH = 0.01  # of the regression where no probe has chosen one


@dataclass(frozen=True)
class LabelErrorReport:
    """What was found of wrong labels.

    Attributes:
        figures: ``{n, issues, estimated, skipped_classes}`` for metrics.json: labels checked, label
            issues, estimated number of wrong labels, and classes that were not checked; None where
            nothing was checked.
        labels: for the report, the surest first.
    """

    figures: Mapping[str, Any] | None
    labels: Sequence[LabelErrorExample]


def find_label_errors(learning: Learning, photos: Dataset) -> LabelErrorReport:
    """Write label_errors.csv of a run, from features that no label has shaped.

    Only training and validation images are looked at: the test images are for the evaluation alone.
    Nothing is looked at where the recipe wants none, where the run has no features of untouched
    images, where its probe is no better than chance, or where fewer than two classes have two
    images. Smaller classes are left out and named.
    """
    session = learning.session
    if not session.recipe.evaluate.label_errors or learning.pretrained is None:
        return LabelErrorReport(None, ())
    logits, held = learning.probe_logits, learning.held.labels
    if logits is not None and is_no_better_than_chance(logits, held):
        session.observer.on_message(
            f"no search for label errors: the {describe_features(session)} separate the classes no "
            "better than chance"
        )
        return LabelErrorReport(None, ())
    catalog, clusters = photos.without_test()
    pooled = [_vectors(one, learning.network) for one in learning.pretrained]
    found = find_label_issues(
        np.concatenate(pooled),
        catalog.labels(),
        groups_of(catalog, clusters),
        classes=len(catalog.class_names),
        strength=learning.probe.strength if learning.probe else _STRENGTH,
        seed=session.recipe.seed,
    )
    if found is None:
        session.observer.on_message(
            "no search for wrong labels: it needs two classes of at least two different images",
            level="warning",
        )
        return LabelErrorReport(None, ())
    left_out = [catalog.class_names[number] for number in found.skipped_classes]
    if left_out:
        session.observer.on_message(
            f"labels of {', '.join(left_out)} are not looked at: with one image, or copies of one, "
            "there is nothing to compare it with",
            level="warning",
        )
    files = [shown_path(item.path, catalog.root) for item in catalog.items]
    write_label_errors(session.run.label_errors, found, files, catalog.class_names)
    if found.issues:
        session.observer.on_message(
            _told(found, str(session.run.label_errors), describe_features(session))
        )
    names = catalog.class_names
    labels = [
        LabelErrorExample(
            catalog.items[one.index].path, names[one.label], names[one.suggested], one.score
        )
        for one in found.issues
    ]
    figures = {
        "n": found.n,
        "issues": len(labels),
        "estimated": found.estimated,
        "skipped_classes": left_out,
    }
    return LabelErrorReport(figures, labels)


def _vectors(pooled: np.ndarray, network: Network) -> np.ndarray:
    """Return features as vectors [N, D], averaged over positions where the head takes them all."""
    if pooled.ndim == 2 and network.head == "flatten":
        last = network.backbone.stages[-1].layer
        pooled = pooled.reshape(-1, *network.model.get_layer(last).output.shape[1:])
    return pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled


def _told(found: LabelErrors, file: str, features: str) -> str:
    count = len(found.issues)
    return (
        f"{count:,} of {found.n:,} labels look wrong to the {features}; "
        f"{file} has them, the surest first"
    )
