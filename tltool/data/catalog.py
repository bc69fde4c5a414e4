"""The catalog: an immutable table of the images of a data set, used by every later step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tltool.data.item import SPLIT_NAMES, Item, SplitName
from tltool.data.item_columns import ItemColumns, as_columns

__all__ = ["SPLIT_NAMES", "Catalog", "Item", "SplitName", "digest_of_labels"]
_BLOCK = 4096  # rows that are objects at once


@dataclass(frozen=True)
class Catalog:
    """The items of a data set and the sorted names of its classes.

    Attributes:
        root: folder of the images.
        items: kept as columns, whatever sequence is given.
        class_names: sorted.
    """

    root: Path
    items: Sequence[Item]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", as_columns(self.items))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def columns(self) -> ItemColumns:
        """The items as columns."""
        return as_columns(self.items)

    def labels(self) -> NDArray[np.int64]:
        """Return the class index of each item: int64 [N], positions in ``class_names``."""
        position = {name: index for index, name in enumerate(self.class_names)}
        names, codes = self.columns.label_names, self.columns.rows["label"]
        index_of = np.zeros(len(names), np.int64)
        for code in np.unique(codes).tolist():
            index_of[code] = position[names[code]]
        result: NDArray[np.int64] = index_of[codes]
        return result

    def select(self, indices: Iterable[int]) -> Catalog:
        """Return the catalog of the items at ``indices``, in that order, with the same classes."""
        return replace(self, items=self.columns.select(indices))

    def counts(self) -> Mapping[str, int]:
        """Return the number of items of each class, in the order of ``class_names``."""
        names = self.columns.label_names
        counts = np.bincount(self.columns.rows["label"], minlength=len(names)).tolist()
        per_label = dict(zip(names, counts, strict=True))
        return {name: per_label.get(name, 0) for name in self.class_names}

    def digest(self) -> str:
        """Return a SHA-256 (hex) over the sorted pairs of content and label.

        It does not depend on file names, order or location: the same images with the same labels
        have the same digest on every machine.
        """
        rows, names = self.columns.rows, self.columns.label_names
        order = np.lexsort((self.columns.label_ranks(), rows["sha256"]))
        digest = hashlib.sha256()
        for start in range(0, len(rows), _BLOCK):
            block = order[start : start + _BLOCK]
            for content, label in zip(
                self.columns.digests(block), rows["label"][block].tolist(), strict=True
            ):
                digest.update(_digest_row(content, names[label]))
        return digest.hexdigest()


def digest_of_labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a SHA-256 (hex) over pairs of content (SHA-256) and label, in any order."""
    digest = hashlib.sha256()
    for content, label in sorted(pairs):
        digest.update(_digest_row(content, label))
    return digest.hexdigest()


def _digest_row(content: str, label: str) -> bytes:
    return f"{content}\0{label}\n".encode()
