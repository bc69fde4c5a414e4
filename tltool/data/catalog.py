"""The catalog: one immutable table of images that every later step takes as it is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One image file. The fields after ``fold`` are known once it was audited.

    Attributes:
        path: the file.
        label: name of its class.
        given_split: the split that its source gave it.
        group: images of one group share a split.
        weight: what it counts in the training loss; 1 is usual.
        fold: the part of a cross-validation that its source gave it, from 0.
        sha256: of its bytes (hex).
        width: of the upright image (EXIF orientation applied), in pixels.
        height: of the upright image.
        format: lower-case name such as ``"jpeg"``.
        orientation: the EXIF value 1 to 8 as stored.
        brightness: mean grey level, 0 … 255.
        sharpness: variance of the Laplacian of the image brought to 128 x 128 pixels, in grey
            levels squared; a blurred image has little.
        columns: what a table says of it beside the columns that tltool uses, as (column, cell).
        perceptual_hash: that of ``tltool.data.duplicates.perceptual_hash``, None for an image
            without contrast.
    """

    path: Path
    label: str
    given_split: SplitName | None = None
    group: str | None = None
    weight: float = 1.0
    fold: int | None = None
    sha256: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    orientation: int = 1
    brightness: float = 0.0
    sharpness: float = 0.0
    columns: tuple[tuple[str, str], ...] = ()
    perceptual_hash: int | None = None


@dataclass(frozen=True)
class Catalog:
    """Items of one data set and the sorted names of its classes, whose order never changes."""

    root: Path
    items: tuple[Item, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def labels(self) -> NDArray[np.int64]:
        """Return the position of each item's label in ``class_names``: int64 [N]."""
        position = {name: index for index, name in enumerate(self.class_names)}
        return np.array([position[item.label] for item in self.items], dtype=np.int64)

    def select(self, indices: Iterable[int]) -> Catalog:
        """Return the catalog of the items at ``indices``, in that order, with the same classes."""
        return replace(self, items=tuple(self.items[int(index)] for index in indices))

    def counts(self) -> Mapping[str, int]:
        """Return the number of items of each class, in the order of ``class_names``."""
        found = Counter(item.label for item in self.items)
        return {name: found[name] for name in self.class_names}

    def digest(self) -> str:
        """Return a SHA-256 (hex) over the sorted pairs of content and label.

        File names, order and place do not matter: the same images under the same labels
        give the same digest on every machine.
        """
        digest = hashlib.sha256()
        for content, label in sorted((item.sha256, item.label) for item in self.items):
            digest.update(f"{content}\0{label}\n".encode())
        return digest.hexdigest()
