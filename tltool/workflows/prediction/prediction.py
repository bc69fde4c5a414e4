"""The answer for one file, in a module that loads no framework."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Prediction:
    """The answer for one file.

    Attributes:
        path: the file, or its place in an archive or table.
        error: why there is no answer; None when there is one.
        top: (class name, probability), the most probable first; empty with an error.
        is_known: whether the image is like those that the model has learned from; None with an
            error, or when the model cannot tell.
        ood_score: how unlike them it is: above 1 it is not known. None as ``is_known`` is.
        classes: the prediction set, the most probable class first; None when none was asked for.
        file: the image file itself, which for an archive or a table is a copy.
    """

    path: Path
    error: str | None
    top: tuple[tuple[str, float], ...]
    is_known: bool | None = None
    ood_score: float | None = None
    classes: tuple[str, ...] | None = None
    file: Path | None = None
