"""Divide audited images as the recipe says."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tltool.data.audit.audit import Issue
from tltool.data.audit.leakage import describe_leakage, find_leakage, near_issues
from tltool.data.catalog import Catalog
from tltool.data.duplicates.find_duplicates import Cluster, Progress, find_copies
from tltool.data.splits.split import Split, given_folds, held_out, make_split, with_folds
from tltool.data.splits.split_groups import split_groups
from tltool.events import Observer
from tltool.recipe.schema import DataSection


class SplitResult(NamedTuple):
    """Images in parts.

    Attributes:
        split: the part of each image.
        clusters: of copies and near copies among them.
        issues: those that near copies make; the audit knows the others.
    """

    split: Split
    clusters: Sequence[Cluster]
    issues: list[Issue]


def split_source(
    catalog: Catalog, *, settings: DataSection, seed: int, see: str, observer: Observer
) -> SplitResult:
    """Return the parts of a run: train, validation and test, or one fold against the others.

    Args:
        catalog: audited images.
        settings: of the recipe.
        seed: of the division.
        see: where copies in several parts or classes are named.
        observer: told about copies.

    Raises:
        DataError: a class is too small, or the fold does not exist.
    """
    clusters = find_duplicates(catalog, observer)
    split = _split(catalog, settings, seed, clusters)
    issues = report_duplicates(catalog, split, clusters, see=see, observer=observer)
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
        split = given_folds(catalog, split)
    return held_out(catalog, split, int(fold))


def find_duplicates(catalog: Catalog, observer: Observer) -> Sequence[Cluster]:
    """Return the clusters of copies and near copies."""
    found = find_copies(catalog.items, progress=_late_phase(observer))
    if found.left_out:
        observer.on_message(found.describe_left_out(), level="warning")
    return found.clusters


def check_shows(source: str) -> str:
    """Return the command that shows the copies of a source."""
    return f"tltool data check {shlex.quote(source)} shows them"


def report_duplicates(
    catalog: Catalog, split: Split, clusters: Sequence[Cluster], *, see: str, observer: Observer
) -> list[Issue]:
    """Say how many copies there are, and warn of those in several parts or classes.

    Returns:
        the issues about near copies, which the audit does not know.
    """
    if not clusters:
        return []
    torn = find_leakage(catalog, split.names, clusters)
    photos = sum(len(cluster.members) for cluster in clusters)
    near = sum(not cluster.exact for cluster in clusters)
    count = "1 cluster" if len(clusters) == 1 else f"{len(clusters)} clusters"
    count += f" ({near} of them near)" if near else ""
    told = (
        f"{photos} images are copies{' or near copies' if near else ''} of each other, in {count}"
    )
    if not torn.across:
        told += "; each cluster stays in one part"
    observer.on_message(told)
    warning = describe_leakage(catalog, split.names, torn)
    if warning:
        observer.on_message(f"{warning}; {see}", level="warning")
    return list(near_issues(catalog, split.names, torn))


def _late_phase(observer: Observer) -> Progress:
    """Return what shows the search for copies as a phase of its own, if it takes long."""
    begun = False

    def tell(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            observer.on_phase("duplicates", "many images have one layout")
        begun = True
        observer.on_progress(done, total)

    return tell


def groups_of(catalog: Catalog, clusters: Sequence[Cluster]) -> NDArray[np.int64]:
    """Return which images a cross-validation must keep together, int64 [N].

    Images of one number are copies or near copies of each other, the ``clusters``, or of one group.
    """
    found = np.zeros(len(catalog), np.int64)
    everything = range(len(catalog))
    units = split_groups(catalog.items, everything, seed=0, clusters=clusters)
    for number, unit in enumerate(units):
        found[list(unit.members)] = number
    return found
