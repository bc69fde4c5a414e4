"""Divide audited photos as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog
from tltool.data.duplicates import Cluster, Progress, find_copies
from tltool.data.split import Split, given_folds, held_out, make_split, with_folds
from tltool.data.units import units_of
from tltool.events import Observer
from tltool.recipe.schema import DataSection


def divided(catalog: Catalog, *, settings: DataSection, seed: int, observer: Observer) -> Split:
    """Return the split of a run: train, validation and test, or one fold against the others.

    Raises:
        DataError: a class is too small, or the fold does not exist.
    """
    fold, _, count = (settings.fold or "").partition("/")
    drawn = not any(item.given_split == "validation" for item in catalog.items)
    clusters = copies(catalog, observer) if drawn or count else ()
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


def copies(catalog: Catalog, observer: Observer) -> Sequence[Cluster]:
    """Return the clusters of copies and near copies, told to the user."""
    found = find_copies(catalog.items, progress=_late_phase(observer))
    if found.clusters:
        photos = sum(len(cluster.members) for cluster in found.clusters)
        near = sum(not cluster.exact for cluster in found.clusters)
        observer.on_message(
            f"{photos} photos are copies or near copies of each other, in {len(found.clusters)}"
            f" clusters ({near} of them near); each cluster stays in one part"
        )
    if found.left_out:
        observer.on_message(found.told_left_out(), level="warning")
    return found.clusters


def _late_phase(observer: Observer) -> Progress:
    """Return what shows the search for copies as a phase of its own, if it takes long."""
    begun = False

    def tell(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            observer.on_phase("duplicates", "many photos have one layout")
        begun = True
        observer.on_progress(done, total)

    return tell


def groups_of(catalog: Catalog) -> NDArray[np.int64]:
    """Return which photos a cross-validation must keep together, int64 [N].

    Photos of one number are copies or near copies of each other, or of one group.
    """
    found = np.zeros(len(catalog), np.int64)
    everything = range(len(catalog))
    units = units_of(
        catalog.items, everything, seed=0, clusters=find_copies(catalog.items).clusters
    )
    for number, unit in enumerate(units):
        found[list(unit.members)] = number
    return found
