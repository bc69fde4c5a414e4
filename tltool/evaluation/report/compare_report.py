"""The report of a comparison of runs: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import data_uri, thumbnail

_THUMBNAIL = 168  # pixels


@dataclass(frozen=True)
class Example:
    """An image that only one of two runs classifies correctly.

    Attributes:
        name: its path in the run's split.csv.
        file: the file; None if it is not found.
        label: its class.
        confidence: of the correct prediction.
        wrong_class: class that the other run predicts.
        wrong_confidence: of the wrong prediction.
    """

    name: str
    file: Path | None
    label: str
    confidence: float
    wrong_class: str
    wrong_confidence: float

    @property
    def source(self) -> str | None:
        """A thumbnail as a ``data:`` URI; None if the file cannot be read."""
        image = thumbnail(self.file, _THUMBNAIL) if self.file and self.file.is_file() else None
        return None if image is None else data_uri(image)


@dataclass(frozen=True)
class Gallery:
    """The ``count`` images that only run ``correct`` classifies correctly; some are shown."""

    correct: str
    wrong: str
    count: int
    examples: Sequence[Example]


def compare_page(
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[str],
    galleries: Sequence[Gallery],
    *,
    n: int,
    notes: Sequence[str] = (),
) -> str:
    """Return the HTML page.

    Args:
        rows: name, accuracy, interval, paired and cost of each run.
        verdicts: one sentence per comparison.
        galleries: two per comparison.
        n: images.
        notes: further sentences.
    """
    page = page_template("compare_report.html.j2")
    return page.render(rows=rows, verdicts=verdicts, galleries=galleries, n=n, notes=notes)
