"""One image of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
