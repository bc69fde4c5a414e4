"""What a training run returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.evaluation.report.notebook_html import Page, report_page, result_html


@dataclass(frozen=True)
class FinetuneResult:
    """What a run left behind.

    Attributes:
        run: the run folder.
        export: the folder of the exported SavedModel, None when the recipe exports nothing.
        metrics: the document of metrics.json; empty on all workers but the first, if there are
            several.
        seconds: wall seconds of each phase, and ``total``.
    """

    run: Path
    export: Path | None
    metrics: Mapping[str, Any] = field(repr=False)
    seconds: Mapping[str, float]

    def report(self) -> Page:
        """Return report.html of the run as an object that a notebook shows.

        Raises:
            UsageError: the recipe writes no report.
        """
        return report_page(self.run)

    def _repr_html_(self) -> str:
        """Return what a notebook shows for the run: its accuracy, its files and its plots."""
        return result_html(self.run, self.export, self.metrics)
