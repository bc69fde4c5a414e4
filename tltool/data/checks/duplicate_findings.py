"""Findings about duplicates: label conflicts, data leakage, exact and near duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding
from tltool.data.duplicates.find_duplicates import Cluster, DuplicateClusters

NOT_COMPARED = "pairs not compared"


def duplicate_findings(
    shown: Callable[[Item], str],
    items: Sequence[Item],
    duplicates: DuplicateClusters,
    *,
    ood_label: str | None = None,
) -> Iterator[Finding]:
    """Yield the findings about each cluster: label conflict, leakage, or plain duplicate.

    Args:
        shown: returns the displayed path of an item.
        items: to which the positions in the clusters refer.
        duplicates: among them; clusters of OOD images alone do no harm.
        ood_label: label of the out-of-distribution images, which are in no split.
    """
    for detail, suggestion in duplicates.describe_not_compared():
        yield Finding(None, NOT_COMPARED, detail, suggestion, "note")
    for cluster in clusters_with_labelled_images(duplicates.clusters, items, ood_label):
        yield from _findings_of(cluster, items, shown, ood_label)


def clusters_with_labelled_images(
    clusters: Sequence[Cluster], items: Sequence[Item], ood_label: str | None
) -> list[Cluster]:
    """Return the clusters with at least one image of a class."""
    return [each for each in clusters if any(items[i].label != ood_label for i in each.members)]


def _findings_of(
    cluster: Cluster, items: Sequence[Item], shown: Callable[[Item], str], ood_label: str | None
) -> Iterator[Finding]:
    members = [items[index] for index in cluster.members]
    labels = sorted({item.label for item in members})
    splits = sorted({item.given_split or "train" for item in members if item.label != ood_label})
    path, related = members[0].path, tuple(item.path for item in members[1:])
    same = "same file as" if cluster.exact else "near duplicate of"
    duplicate = f"{same} {', '.join(shown(item) for item in members[1:])}"
    if len(labels) > 1:
        detail = f"{duplicate}; labels {', '.join(labels)}"
        suggestion = "keep it in the correct class and remove the others"
        yield Finding(path, "label conflict", detail, suggestion, "serious", related)
    if len(splits) > 1:
        detail = f"{duplicate}; in {' and '.join(splits)}"
        suggestion = "keep it in one split"
        yield Finding(path, "data leakage", detail, suggestion, "serious", related)
    if len(labels) == len(splits) == 1:
        kind = "exact duplicate" if cluster.exact else "near duplicate"
        suggestion = "keep one; tltool puts all of them into the same split"
        yield Finding(path, kind, duplicate, suggestion, "warning", related)
