"""What a notebook shows of a run: its accuracy, its plots, and its report in a frame."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.evaluation.report.advice import describe_cross_validation, next_steps
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.runs.layout import RunLayout


@dataclass(frozen=True)
class Page:
    """A page of HTML inside a notebook, in a frame of its own."""

    text: str

    def _repr_html_(self) -> str:
        source = html.escape(self.text, quote=True)
        return f"<iframe srcdoc=\"{source}\" style='width:100%;height:800px;border:0'></iframe>"


def report_page(run: Path) -> Page:
    """Return the report of a run.

    Raises:
        UsageError: the run has none.
    """
    path = RunLayout(run).report
    if not path.is_file():
        raise UsageError(
            f"'{run}' has no {path.name}",
            hint="train with evaluate.report, or give the folder of a finished run",
        )
    return Page(path.read_text(encoding="utf-8"))


def result_html(run: Path, export: Path | None, metrics: Mapping[str, Any]) -> str:
    """Return the accuracy, where the files are, what to do next, and the plots, as HTML."""
    answer = [*describe_cross_validation(metrics), describe_accuracy(metrics)]
    first, *others = map(html.escape, answer)
    files = f"run {run}" + (f", model {export}" if export else "")
    plots = RunLayout(run).plots
    return (
        f"<p><b>{first}</b> {' '.join(others)}</p>"
        f"<p>{html.escape(files)}</p>"
        f"<ul>{''.join(f'<li>{html.escape(step)}</li>' for step in next_steps(metrics))}</ul>"
        f"{_image(plots / 'history.png')}{_image(plots / 'confusion_matrix.png')}"
    )


def _image(path: Path) -> str:
    """Return a picture inside the page; nothing without one."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{path.stem}' style='max-width:48%' src='data:image/png;base64,{data}'>"
