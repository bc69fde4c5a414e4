"""Data leakage: duplicates in more than one split, or in more than one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tltool.data.audit.audit import LABEL_CONFLICT, LEAKAGE, Issue
from tltool.data.catalog import SPLIT_NAMES, Catalog, Item, SplitName
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.splits.split import shown_path
from tltool.errors import counted


@dataclass(frozen=True)
class Leakage:
    """Duplicates that distort the metrics of a run.

    Attributes:
        across_splits: clusters in more than one split.
        label_conflicts: clusters in more than one class.
    """

    across_splits: tuple[Cluster, ...]
    label_conflicts: tuple[Cluster, ...]


def find_leakage(catalog: Catalog, splits: Sequence[str], clusters: Sequence[Cluster]) -> Leakage:
    """Return the clusters that are in more than one split or class.

    Args:
        catalog: the images.
        splits: of its items.
        clusters: of duplicates among them.
    """
    labels = catalog.columns.labels()
    return Leakage(
        tuple(each for each in clusters if len({splits[i] for i in each.members}) > 1),
        tuple(each for each in clusters if len({labels[i] for i in each.members}) > 1),
    )


def count_train_overlap(
    splits: Sequence[str], clusters: Sequence[Cluster], split: SplitName
) -> dict[str, int]:
    """Count the images of ``split`` that the model has seen, themselves or as a duplicate.

    Args:
        splits: of all images.
        clusters: of exact and near duplicates among them.
        split: one of the splits.

    Returns:
        ``train``: how many are among the training images; ``validation``: how many others are among
        the validation images.
    """
    splits_of_cluster = {
        index: {splits[i] for i in cluster.members}
        for cluster in clusters
        for index in cluster.members
    }
    seen_in = [
        splits_of_cluster.get(index, {own}) for index, own in enumerate(splits) if own == split
    ]
    first = Counter(next(name for name in SPLIT_NAMES if name in each) for each in seen_in)
    return {"train": first["train"], "validation": first["validation"]}


def describe_leakage(catalog: Catalog, splits: Sequence[str], leakage: Leakage) -> str:
    """Return a sentence with the counts and one example pair each; empty without leakage."""
    labels = catalog.columns.labels()
    sentences = []
    if leakage.across_splits:
        pair = _example_pair(catalog, leakage.across_splits[0], splits)
        count = _images_are(len(leakage.across_splits))
        sentences.append(
            f"data leakage: {count} in more than one split ({pair}); the metrics are too optimistic"
        )
    if leakage.label_conflicts:
        pair = _example_pair(catalog, leakage.label_conflicts[0], labels)
        count = _images_are(len(leakage.label_conflicts))
        sentences.append(f"label conflict: {count} in more than one class ({pair})")
    return "; ".join(sentences)


def near_duplicate_issues(
    catalog: Catalog, splits: Sequence[str], leakage: Leakage
) -> Iterator[Issue]:
    """Yield the issues about near duplicates; the audit reports the exact ones."""
    labels = catalog.columns.labels()
    for kind, clusters, of in (
        (LEAKAGE, leakage.across_splits, splits),
        (LABEL_CONFLICT, leakage.label_conflicts, labels),
    ):
        for cluster in clusters:
            if cluster.exact:
                continue
            places = " and ".join(sorted({of[index] for index in cluster.members}))
            for index in cluster.members:
                if not _is_reported(catalog.items, cluster, index, of):
                    path = catalog.items[index].path
                    yield Issue(path, kind, f"near duplicates in {places}", bad=False)


def _is_reported(items: Sequence[Item], cluster: Cluster, index: int, of: Sequence[str]) -> bool:
    """Return whether an exact duplicate of an item is in another split or class."""
    same = [i for i in cluster.members if items[i].sha256 == items[index].sha256]
    return len({of[i] for i in same}) > 1


def _example_pair(catalog: Catalog, cluster: Cluster, of: Sequence[str]) -> str:
    first = cluster.members[0]
    second = next(index for index in cluster.members if of[index] != of[first])
    names = [shown_path(catalog.items[index].path, catalog.root) for index in (first, second)]
    return " = ".join(names)


def _images_are(count: int) -> str:
    return counted(count, "image is", "images are")
