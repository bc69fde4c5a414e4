"""Findings about images that occur more than once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tltool.data.catalog import Item
from tltool.data.checks.findings import Finding
from tltool.data.duplicates import Copies
from tltool.data.split import shown_path

NOT_COMPARED = "pairs not compared"


def copies(root: Path, items: Sequence[Item], found: Copies) -> Iterator[Finding]:
    """Yield one finding a cluster and kind of harm: two labels, two splits, or neither.

    Args:
        root: folder that names are shown relative to.
        items: the items that the clusters count.
        found: among them.
    """
    if found.left_out:
        suggestion = "nothing, if the photos have one layout, as X-rays or portraits do"
        yield Finding(None, NOT_COMPARED, found.told_left_out(), suggestion, "note")
    for cluster in found.clusters:
        members = [items[index] for index in cluster.members]
        labels = sorted({item.label for item in members})
        splits = sorted({item.given_split or "train" for item in members})
        path, related = members[0].path, tuple(item.path for item in members[1:])
        same = "the same file as" if cluster.exact else "shows the same picture as"
        told = f"{same} {_names(root, related)}"
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


def _names(root: Path, paths: Sequence[Path], most: int = 3) -> str:
    shown = ", ".join(shown_path(path, root) for path in paths[:most])
    return shown if len(paths) <= most else f"{shown} and {len(paths) - most} more"
