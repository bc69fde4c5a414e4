"""The content of an evaluation report; a section whose content is missing is omitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tltool.data.audit.audit import Issue
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions


@dataclass(frozen=True)
class Training:
    """How the model was trained; known for a run only.

    Attributes:
        history: rows of history.csv.
        best: index of the row of the best epoch, whose weights were kept.
        recipe: the resolved recipe, YAML.
        manifest: the document of manifest.json.
        counts: images of each class by split: ``{"train": {"ants": 97, …}, …}``.
        run: path of the run folder, quoted for a shell.
    """

    history: Sequence[Mapping[str, Any]]
    best: int | None
    recipe: str
    manifest: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    run: str


@dataclass(frozen=True)
class LabelErrorExample:
    """An image whose label is probably wrong.

    Attributes:
        path: the image.
        label: its label.
        suggested: the more probable class.
        score: probability that the label is wrong, 0 … 1.
    """

    path: Path
    label: str
    suggested: str
    score: float


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: name of the model.
        predictions: images, labels and predictions.
        metrics: the document of metrics.json.
        label_errors: labels that are probably wrong, by descending score.
        issues: findings of the data audit.
        training: None for a model that was trained earlier.
        manifest: the document of manifest.json of a model that was trained earlier; None if
            unknown.
        test_set: a sentence on other runs that used the same test set, or empty.
        heat_maps: heat maps drawn over images, by the number of the image in ``predictions``.
    """

    title: str
    predictions: LabelledPredictions
    metrics: Mapping[str, Any]
    label_errors: Sequence[LabelErrorExample] = ()
    issues: Sequence[Issue] = ()
    training: Training | None = None
    manifest: Mapping[str, Any] | None = None
    test_set: str = ""
    heat_maps: Mapping[int, Image.Image] = field(default_factory=dict)
