"""Search the training and validation sets of a run for label errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.data.catalog import Catalog
from tltool.data.splits.split import shown_path
from tltool.errors import some_of
from tltool.evaluation.label_errors import LabelErrors, find_label_issues, write_label_errors
from tltool.evaluation.report.content import LabelErrorExample
from tltool.models.network_parts import Network
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.dataset.splitting import group_numbers
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.linear_probe import (
    describe_features,
    has_random_weights,
    is_no_better_than_chance,
)

_STRENGTH = 0.01  # of the regression where no probe has chosen one
_MOST_PROBABILITIES = 20_000_000  # images times classes; more need gigabytes and hours


@dataclass(frozen=True)
class LabelErrorReport:
    """What the search for label errors gave.

    Attributes:
        figures: ``{n, issues, by_chance, above_chance, estimated, skipped_classes}`` for
            metrics.json: labels checked, label issues, ``{mean, high}`` of the issues that are
            expected if every label is right, whether there are more than ``high``, estimated number
            of wrong labels, and classes that were not checked; None where nothing was checked.
        labels: for the report, by descending score.
    """

    figures: Mapping[str, Any] | None
    labels: Sequence[LabelErrorExample]


def find_label_errors(
    run: RunContext, network: Network, dataset: Dataset, outcome: TrainingOutcome
) -> LabelErrorReport:
    """Write label_errors.csv of a run, from features that no label has shaped.

    Only training and validation images are checked: the test images are for the evaluation alone.
    Nothing is checked where the recipe leaves it out, where the run has no features of untouched
    images, where these are random, where its probe is no better than chance, where there are too
    many images and classes, or where fewer than two classes have two images. Smaller classes are
    left out and named.
    """
    nothing = LabelErrorReport(None, ())
    if not run.recipe.evaluate.label_errors or outcome.pretrained is None:
        return nothing
    if has_random_weights(run.manifest):
        run.observer.on_message(
            "no search for label errors: the weights are random, and random features say little "
            "about labels"
        )
        return nothing
    if _probe_is_useless(outcome, dataset.part("validation").labels()):
        run.observer.on_message(
            f"no search for label errors: the {describe_features(run.manifest)} separate the "
            "classes no better than chance"
        )
        return nothing
    catalog, clusters = dataset.without_test()
    if len(catalog) * len(catalog.class_names) > _MOST_PROBABILITIES:
        run.observer.on_message(
            f"no search for label errors: {len(catalog):,} images of {len(catalog.class_names):,} "
            "classes are too many for it"
        )
        return nothing
    pretrained = (outcome.pretrained.train, outcome.pretrained.validation)
    errors = find_label_issues(
        np.concatenate([_vectors(pooled, network) for pooled in pretrained]),
        catalog.labels(),
        group_numbers(catalog, clusters),
        classes=len(catalog.class_names),
        strength=outcome.probe.strength if outcome.probe else _STRENGTH,
        seed=run.recipe.seed,
    )
    if errors is None:
        run.observer.on_message(
            "no search for label errors: it needs two classes of at least two different images",
            level="warning",
        )
        return nothing
    return _report(run, errors, catalog)


def _probe_is_useless(outcome: TrainingOutcome, labels: np.ndarray) -> bool:
    logits = outcome.probe_logits
    return logits is not None and is_no_better_than_chance(logits, labels)


def _report(run: RunContext, errors: LabelErrors, catalog: Catalog) -> LabelErrorReport:
    """Write label_errors.csv, and return the same for metrics and report."""
    names = catalog.class_names
    skipped = [names[number] for number in errors.skipped_classes]
    if skipped:
        run.observer.on_message(
            f"labels of {some_of(skipped)} are not checked for errors: that needs two different "
            "images of a class",
            level="warning",
        )
    files = [shown_path(item.path, catalog.root) for item in catalog.items]
    write_label_errors(run.layout.label_errors, errors, files, names)
    if errors.issues:
        file, features = str(run.layout.label_errors), describe_features(run.manifest)
        run.observer.on_message(_summary(errors, file, features))
    labels = [
        LabelErrorExample(
            catalog.items[one.index].path, names[one.label], names[one.suggested], one.score
        )
        for one in errors.issues
    ]
    figures = {
        "n": errors.n,
        "issues": len(labels),
        "by_chance": errors.by_chance and errors.by_chance._asdict(),
        "above_chance": errors.above_chance,
        "estimated": errors.estimated,
        "skipped_classes": skipped,
    }
    return LabelErrorReport(figures, labels)


def _vectors(pooled: np.ndarray, network: Network) -> np.ndarray:
    """Return features as vectors [N, D], averaged over positions where the head takes them all."""
    if pooled.ndim == 2 and network.head == "flatten":
        last = network.backbone.stages[-1].layer
        pooled = pooled.reshape(-1, *network.model.get_layer(last).output.shape[1:])
    return pooled.mean(axis=(1, 2)) if pooled.ndim == 4 else pooled


def _summary(errors: LabelErrors, file: str, features: str) -> str:
    count, chance = len(errors.issues), errors.by_chance
    expected = ""
    if chance is not None:
        level = "" if errors.above_chance else f", and up to {chance.high:,.0f} by chance"
        expected = f", where {chance.mean:,.0f} are expected if every label were right{level}"
    return (
        f"{count:,} of {errors.n:,} labels may be wrong, by the {features}{expected}; "
        f"{file} lists them by descending probability"
    )
