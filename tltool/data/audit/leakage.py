"""Copies of one picture that lie in several parts of a division, or in several classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tltool.data.audit.audit import ACROSS_PARTS, TWO_LABELS, Issue
from tltool.data.catalog import SPLIT_NAMES, Catalog, Item, SplitName
from tltool.data.duplicates.find_duplicates import Cluster
from tltool.data.splits.split import shown_path


@dataclass(frozen=True)
class Leakage:
    """Pictures that spoil the figures of a run.

    Attributes:
        across: clusters in more than one part.
        conflicts: clusters in more than one class.
    """

    across: tuple[Cluster, ...]
    conflicts: tuple[Cluster, ...]


def find_leakage(catalog: Catalog, parts: Sequence[str], clusters: Sequence[Cluster]) -> Leakage:
    """Return the clusters that are in more than one part or class.

    Args:
        catalog: the images.
        parts: of its items.
        clusters: of copies among them.
    """
    labels = [item.label for item in catalog.items]
    return Leakage(
        tuple(each for each in clusters if len({parts[i] for i in each.members}) > 1),
        tuple(each for each in clusters if len({labels[i] for i in each.members}) > 1),
    )


def count_train_overlap(
    parts: Sequence[str], clusters: Sequence[Cluster], part: SplitName
) -> dict[str, int]:
    """Return of how many images of ``part`` the model has learned: by themselves or by a copy.

    Args:
        parts: of all images.
        clusters: of copies and near copies among them.
        part: one of the parts.

    Returns:
        ``train``: how many have trained it; ``validation``: how many others chose its best epoch.
    """
    places = {
        index: {parts[i] for i in cluster.members}
        for cluster in clusters
        for index in cluster.members
    }
    measured = [places.get(index, {own}) for index, own in enumerate(parts) if own == part]
    first = Counter(next(name for name in SPLIT_NAMES if name in each) for each in measured)
    return {"train": first["train"], "validation": first["validation"]}


def describe_leakage(catalog: Catalog, parts: Sequence[str], torn: Leakage) -> str:
    """Return a sentence on how many there are, with a pair of each; empty without any."""
    labels = [item.label for item in catalog.items]
    told = []
    if torn.across:
        pair = _pair(catalog, torn.across[0], parts)
        told.append(f"{_are(len(torn.across))} in more than one part ({pair})")
        told[-1] += ": the figures come out too good"
    if torn.conflicts:
        pair = _pair(catalog, torn.conflicts[0], labels)
        told.append(f"{_are(len(torn.conflicts))} in more than one class ({pair})")
    return "; ".join(told)


def near_issues(catalog: Catalog, parts: Sequence[str], torn: Leakage) -> Iterator[Issue]:
    """Yield what the audit, which compares bytes alone, did not note."""
    labels = [item.label for item in catalog.items]
    for kind, clusters, of in (
        (ACROSS_PARTS, torn.across, parts),
        (TWO_LABELS, torn.conflicts, labels),
    ):
        for cluster in clusters:
            if cluster.exact:
                continue
            found = " and ".join(sorted({of[index] for index in cluster.members}))
            for index in cluster.members:
                if not _noted(catalog.items, cluster, index, of):
                    path = catalog.items[index].path
                    yield Issue(path, kind, f"the same picture, nearly, is in {found}", bad=False)


def _noted(items: Sequence[Item], cluster: Cluster, index: int, of: Sequence[str]) -> bool:
    """Tell whether an exact copy of an item is on another side already."""
    same = [i for i in cluster.members if items[i].sha256 == items[index].sha256]
    return len({of[i] for i in same}) > 1


def _pair(catalog: Catalog, cluster: Cluster, of: Sequence[str]) -> str:
    first = cluster.members[0]
    second = next(index for index in cluster.members if of[index] != of[first])
    names = [shown_path(catalog.items[index].path, catalog.root) for index in (first, second)]
    return " = ".join(names)


def _are(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count:,} pictures are"
