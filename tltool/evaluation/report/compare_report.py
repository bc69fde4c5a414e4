"""The page of a comparison of runs: one HTML file that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.evaluation.report.render import page_template
from tltool.evaluation.report.thumbnails import as_uri, small_copy

_THUMBNAIL = 168  # pixels


@dataclass(frozen=True)
class Example:
    """An image that only one run gets right.

    Attributes:
        name: as the run's split.csv names it.
        file: where it lies; None when that is not known.
        label: its class.
        confidence: that the right run had.
        wrongly: class that the wrong run named.
        wrong_confidence: that the wrong run had.
    """

    name: str
    file: Path | None
    label: str
    confidence: float
    wrongly: str
    wrong_confidence: float

    @property
    def picture(self) -> str | None:
        """A small copy as a ``data:`` address; None when the file cannot be read."""
        image = small_copy(self.file, _THUMBNAIL) if self.file and self.file.is_file() else None
        return None if image is None else as_uri(image)


@dataclass(frozen=True)
class Gallery:
    """What run ``right`` gets right and run ``wrong`` does not: ``count`` images, some shown."""

    right: str
    wrong: str
    count: int
    examples: Sequence[Example]


def compare_page(
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[str],
    galleries: Sequence[Gallery],
    *,
    n: int,
) -> str:
    """Return the page.

    Args:
        rows: name, accuracy, interval, paired and cost of each run.
        verdicts: one sentence per comparison.
        galleries: two per comparison.
        n: images.
    """
    page = page_template("compare_report.html.j2")
    return page.render(rows=rows, verdicts=verdicts, galleries=galleries, n=n)
