"""Splits audited images as set in the recipe, and reports duplicates and leakage."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.audit import Issue
from tltool.data.audit.leakage import describe_leakage, find_leakage, near_duplicate_issues
from tltool.data.catalog import Catalog
from tltool.data.duplicates.find_duplicates import Cluster, Progress, cluster_duplicates
from tltool.data.splits.split import (
    Split,
    make_split,
    validate_on_fold,
    with_folds,
    with_source_folds,
)
from tltool.data.splits.split_groups import make_split_groups
from tltool.events import Observer
from tltool.recipe.schema import DataSection


class SplitResult(NamedTuple):
    """The split of a catalog.

    Attributes:
        split: of each image.
        clusters: of exact and near duplicates.
        issues: about near duplicates; those about exact ones are in the audit.
    """

    split: Split
    clusters: Sequence[Cluster]
    issues: list[Issue]


def split_source(
    catalog: Catalog, *, settings: DataSection, seed: int, hint: str, observer: Observer
) -> SplitResult:
    """Split a catalog into train, validation and test, or with one fold as the validation set.

    Args:
        catalog: audited images.
        settings: of the recipe.
        seed: of the split.
        hint: where to find the duplicates, for a warning.
        observer: receives the messages about duplicates.

    Raises:
        DataError: a class is too small, or the fold does not exist.
    """
    clusters = find_duplicates(catalog, observer)
    split = _split(catalog, settings, seed, clusters)
    issues = report_duplicates(catalog, split, clusters, hint=hint, observer=observer)
    return SplitResult(split, clusters, issues)


def _split(
    catalog: Catalog, settings: DataSection, seed: int, clusters: Sequence[Cluster]
) -> Split:
    fold, _, count = (settings.fold or "").partition("/")
    split = make_split(
        catalog,
        validation_fraction=0.0 if fold else settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=seed,
        clusters=clusters,
    )
    if not fold:
        return split
    if count:
        split = with_folds(catalog, split, int(count), seed=seed, clusters=clusters)
    else:
        split = with_source_folds(catalog, split)
    return validate_on_fold(catalog, split, int(fold))


def find_duplicates(catalog: Catalog, observer: Observer) -> Sequence[Cluster]:
    """Return the clusters of exact and near duplicates."""
    duplicates = cluster_duplicates(catalog.items, progress=_duplicates_phase(observer))
    for sentence, _ in duplicates.describe_not_compared():
        observer.on_message(sentence, level="warning")
    return duplicates.clusters


def show_duplicates_hint(source: str) -> str:
    """Return the command that lists the duplicates of a source."""
    return f"to list them: tltool data check {shlex.quote(source)}"


def report_duplicates(
    catalog: Catalog, split: Split, clusters: Sequence[Cluster], *, hint: str, observer: Observer
) -> list[Issue]:
    """Report the number of duplicates, and warn about leakage and label conflicts.

    Returns:
        the issues about near duplicates; those about exact ones are in the audit.
    """
    if not clusters:
        return []
    leakage = find_leakage(catalog, split.names, clusters)
    images = sum(len(cluster.members) for cluster in clusters)
    near = sum(not cluster.exact for cluster in clusters)
    count = "1 cluster" if len(clusters) == 1 else f"{len(clusters)} clusters"
    kinds = f" ({len(clusters) - near} exact, {near} near)" if near else ""
    message = f"{images} images are duplicates, in {count}{kinds}"
    if not leakage.across_splits:
        message += "; each cluster is kept in one split"
    observer.on_message(message)
    warning = describe_leakage(catalog, split.names, leakage)
    if warning:
        review = "; tltool review corrects labels" if leakage.label_conflicts else ""
        observer.on_message(f"{warning}; {hint}{review}", level="warning")
    return list(near_duplicate_issues(catalog, split.names, leakage))


def _duplicates_phase(observer: Observer) -> Progress:
    """Return a callback that reports the search for duplicates as a phase, if it takes long."""
    started = False

    def report(done: int, total: int) -> None:
        nonlocal started
        if not started:
            observer.on_phase("duplicates", "many images share a layout")
        started = True
        observer.on_progress(done, total)

    return report


def group_names(catalog: Catalog, clusters: Sequence[Cluster]) -> tuple[str, ...]:
    """Return the name of the group of each image, as in split.csv; empty for a single image.

    Duplicates (``clusters``) and the images of one group have the same name.
    """
    groups = make_split_groups(catalog.items, range(len(catalog)), seed=0, clusters=clusters)
    return tuple(groups.names[number] for number in groups.group.tolist())


def group_numbers(catalog: Catalog, clusters: Sequence[Cluster]) -> NDArray[np.int64]:
    """Return the group of each image for grouped cross-validation: int64 [N].

    Duplicates (``clusters``) and the images of one group have the same number.
    """
    return make_split_groups(catalog.items, range(len(catalog)), seed=0, clusters=clusters).group
