"""What a notebook shows of a run: its accuracy, its plots, and its report in a frame."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.evaluation.csv_tables import PredictionRow, read_predictions
from tltool.evaluation.report.advice import describe_cross_validation, next_steps
from tltool.evaluation.report.text_tables import describe_accuracy
from tltool.evaluation.report.thumbnails import data_uri, thumbnail
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest

_WORST, _SIDE = 6, 128  # images, pixels


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
    """Return accuracy, files, next steps, plots and the worst mistakes of a run, as HTML."""
    answer = [*describe_cross_validation(metrics), describe_accuracy(metrics)]
    first, *others = map(html.escape, answer)
    files = f"run in {run}" + (f", model in {export}" if export else "")
    plots = RunLayout(run).plots
    return (
        f"<p><b>{first}</b> {' '.join(others)}</p>"
        f"<p>{html.escape(files)}</p>"
        f"<ul>{''.join(f'<li>{html.escape(step)}</li>' for step in next_steps(metrics))}</ul>"
        f"{_image(plots / 'history.png', 60)}{_image(plots / 'confusion_matrix.png', 34)}"
        f"{worst_mistakes_html(run)}"
    )


def worst_mistakes_html(run: Path) -> str:
    """Return the misclassified images of highest confidence as HTML; nothing without any.

    An image that is not where it was during the run is shown by its name alone.
    """
    table = RunLayout(run).predictions
    if not table.is_file():
        return ""
    wrong = [row for row in read_predictions(table) if not row.correct]
    wrong.sort(key=lambda row: -row.confidence)
    options = read_manifest(RunLayout(run).manifest).options
    roots = [Path(source) for source in (options.data, options.test) if source]
    cards = "".join(_card(row, roots) for row in wrong[:_WORST])
    return f"<p><b>Worst mistakes</b></p><div>{cards}</div>" if cards else ""


def _card(row: PredictionRow, roots: Sequence[Path]) -> str:
    found = (thumbnail(root / row.path, _SIDE) for root in roots)
    image = next(filter(None, found), None)
    picture = f"<img alt='' src='{data_uri(image)}'>" if image else ""
    name, label, predicted = map(html.escape, (row.path, row.label, row.predicted))
    return (
        f"<figure style='display:inline-block;width:{_SIDE}px;margin:4px;vertical-align:top'>"
        f"{picture}<figcaption style='font-size:80%;overflow-wrap:anywhere'>{predicted} "
        f"({100 * row.confidence:.0f} %) instead of {label}: {name}</figcaption></figure>"
    )


def _image(path: Path, width: int) -> str:
    """Return a picture of at most ``width`` % of the page's width; nothing without one."""
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    style = f"max-width:{width}%;vertical-align:top"
    return f"<img alt='{path.stem}' style='{style}' src='data:image/png;base64,{data}'>"
