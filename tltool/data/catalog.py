"""The catalog: an immutable table of the images of a data set, used by every later step."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tltool.data.path_as_text import path_as_text

SplitName = Literal["train", "validation", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "validation", "test")


@path_as_text
@dataclass(frozen=True, slots=True)
class Item:
    """One image file. The fields after ``fold`` are filled in by the audit.

    Attributes:
        path: the file.
        label: name of its class.
        given_split: its split, where the source defines one.
        group: images of one group share a split.
        weight: its sample weight in the training loss; 1 by default.
        fold: its cross-validation fold, from 0, where the source defines one.
        sha256: digest of its bytes (hex).
        width: of the upright image (EXIF orientation applied), in pixels.
        height: of the upright image.
        format: lower-case name such as ``"jpeg"``.
        orientation: the EXIF value 1 to 8 as stored.
        brightness: mean grey level, 0 … 255.
        sharpness: variance of the Laplacian of the image resized to 128 x 128 pixels, in squared
            grey levels; low for a blurred image.
        columns: further columns of a table, as (column, cell).
        perceptual_hash: of ``tltool.data.duplicates.perceptual_hash``; None for an image without
            contrast.
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
    """The items of a data set and the sorted names of its classes."""

    root: Path
    items: tuple[Item, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.items)

    def labels(self) -> NDArray[np.int64]:
        """Return the class index of each item: int64 [N], positions in ``class_names``."""
        position = {name: index for index, name in enumerate(self.class_names)}
        return np.array([position[item.label] for item in self.items], dtype=np.int64)

    def select(self, indices: Iterable[int]) -> Catalog:
        """Return the catalog of the items at ``indices``, in that order, with the same classes."""
        return replace(self, items=tuple(self.items[int(index)] for index in indices))

    def counts(self) -> Mapping[str, int]:
        """Return the number of items of each class, in the order of ``class_names``."""
        per_class = Counter(item.label for item in self.items)
        return {name: per_class[name] for name in self.class_names}

    def digest(self) -> str:
        """Return a SHA-256 (hex) over the sorted pairs of content and label.

        It does not depend on file names, order or location: the same images with the same labels
        have the same digest on every machine.
        """
        return digest_of_labels((item.sha256, item.label) for item in self.items)


def digest_of_labels(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a SHA-256 (hex) over pairs of content (SHA-256) and label, in any order."""
    digest = hashlib.sha256()
    for content, label in sorted(pairs):
        digest.update(f"{content}\0{label}\n".encode())
    return digest.hexdigest()
