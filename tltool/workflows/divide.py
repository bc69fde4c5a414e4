"""Divide audited photos as the recipe says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog
from tltool.data.duplicates import Cluster, find_clusters
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
    clusters = find_clusters(catalog.items)
    if clusters:
        photos = sum(len(cluster.members) for cluster in clusters)
        near = sum(not cluster.exact for cluster in clusters)
        observer.on_message(
            f"{photos} photos are copies or near copies of each other, in {len(clusters)} clusters"
            f" ({near} of them near); each cluster stays in one part"
        )
    return clusters


def groups_of(catalog: Catalog) -> NDArray[np.int64]:
    """Return which photos a cross-validation must keep together, int64 [N].

    Photos of one number are copies or near copies of each other, or of one group.
    """
    found = np.zeros(len(catalog), np.int64)
    everything = range(len(catalog))
    units = units_of(catalog.items, everything, seed=0, clusters=find_clusters(catalog.items))
    for number, unit in enumerate(units):
        found[list(unit.members)] = number
    return found
