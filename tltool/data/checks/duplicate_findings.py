"""Findings about images that occur more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding
from tltool.data.duplicates.find_duplicates import Cluster, Copies

NOT_COMPARED = "pairs not compared"


def copies(
    shown: Callable[[Item], str],
    items: Sequence[Item],
    found: Copies,
    *,
    ood_label: str | None = None,
) -> Iterator[Finding]:
    """Yield one finding a cluster and kind of harm: two labels, two splits, or neither.

    Args:
        shown: how a person knows an item.
        items: the items that the clusters count.
        found: among them; clusters of OOD images alone do no harm.
        ood_label: label of the out-of-distribution images, which are in no split.
    """
    if found.left_out:
        suggestion = "nothing, if the images have one layout, as X-rays or portraits do"
        yield Finding(None, NOT_COMPARED, found.describe_left_out(), suggestion, "note")
    for cluster in with_a_class(found.clusters, items, ood_label):
        members = [items[index] for index in cluster.members]
        labels = sorted({item.label for item in members})
        splits = sorted(
            {item.given_split or "train" for item in members if item.label != ood_label}
        )
        path, related = members[0].path, tuple(item.path for item in members[1:])
        same = "the same file as" if cluster.exact else "shows the same picture as"
        told = f"{same} {', '.join(shown(item) for item in members[1:])}"
        if len(labels) > 1:
            detail = f"{told}; labels {', '.join(labels)}"
            suggestion = "keep it in the class where it belongs and remove the others"
            yield Finding(path, "label conflict", detail, suggestion, "serious", related)
        if len(splits) > 1:
            detail = f"{told}; in {' and '.join(splits)}"
            suggestion = "keep it in one split"
            yield Finding(path, "leak across splits", detail, suggestion, "serious", related)
        if len(labels) == len(splits) == 1:
            kind = "exact duplicate" if cluster.exact else "near duplicate"
            suggestion = "keep one; a split by tltool keeps them together"
            yield Finding(path, kind, told, suggestion, "warning", related)


def with_a_class(
    clusters: Sequence[Cluster], items: Sequence[Item], ood_label: str | None
) -> list[Cluster]:
    """Return the clusters that hold an image of a class."""
    return [each for each in clusters if any(items[i].label != ood_label for i in each.members)]
