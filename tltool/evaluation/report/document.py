"""What a report is made of; every part that is not there leaves its section out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tltool.data.audit.audit import Issue
from tltool.evaluation.metrics.predictions import LabelledPredictions


@dataclass(frozen=True)
class Training:
    """How the model came to be; only a run knows.

    Attributes:
        history: rows of history.csv.
        best: number of the row whose model was kept.
        recipe: the resolved recipe, YAML.
        facts: the document of manifest.json.
        counts: images of each class by part: ``{"train": {"ants": 97, …}, …}``.
        run: the run folder, as a user would type it.
    """

    history: Sequence[Mapping[str, Any]]
    best: int | None
    recipe: str
    facts: Mapping[str, Any]
    counts: Mapping[str, Mapping[str, int]]
    run: str


@dataclass(frozen=True)
class SuspectedLabel:
    """A label that is probably wrong.

    Attributes:
        path: the image.
        given: the class as labelled.
        suggested: the class that it more probably has.
        score: probability that the label is wrong, 0 … 1.
    """

    path: Path
    given: str
    suggested: str
    score: float


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: name of the model.
        evaluated: images and answers.
        metrics: the document of metrics.json.
        suspects: labels that are probably wrong, the surest first.
        issues: what the audit found.
        training: None for a model that was not trained just now.
        origin: the document of manifest.json of a model that was trained before; None where it is
            not known.
        heats: heat maps drawn over images, by the number of the image in ``evaluated``.
    """

    title: str
    evaluated: LabelledPredictions
    metrics: Mapping[str, Any]
    suspects: Sequence[SuspectedLabel] = ()
    issues: Sequence[Issue] = ()
    training: Training | None = None
    origin: Mapping[str, Any] | None = None
    heats: Mapping[int, Image.Image] = field(default_factory=dict)
