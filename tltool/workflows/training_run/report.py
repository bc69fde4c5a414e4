"""What ``report.html`` shows of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tltool.artifact import Artifact
from tltool.data.catalog import SPLIT_NAMES
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.report.content import LabelErrorExample, Report, Training
from tltool.evaluation.report.evaluation_report import write_report
from tltool.recipe.load import to_yaml
from tltool.training.outcome import TrainingOutcome
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.prediction.heat_maps import heat_map_images
from tltool.workflows.training_run.context import RunContext


@dataclass(frozen=True)
class EvaluatedRun:
    """The final evaluation, as the report shows it.

    Attributes:
        predictions: of the best model for the test images, or the validation images.
        metrics: the document of metrics.json.
        label_errors: probable label errors, by descending score.
        test_set: a sentence on other runs that used the same test set, or empty.
    """

    predictions: LabelledPredictions
    metrics: Mapping[str, Any]
    label_errors: Sequence[LabelErrorExample]
    test_set: str = ""


def write_run_report(
    run: RunContext,
    artifact: Artifact,
    dataset: Dataset,
    outcome: TrainingOutcome,
    evaluation: EvaluatedRun,
) -> None:
    """Write the run's report.

    Raises:
        OSError: the disk is full or not writable.
    """
    parts = {name: dataset.part(name) for name in SPLIT_NAMES}
    training = Training(
        history=outcome.history,
        best=outcome.best_row,
        recipe=to_yaml(run.recipe),
        manifest=run.manifest.to_json(),
        counts={name: part.counts() for name, part in parts.items() if len(part)},
        run=shlex.quote(str(run.layout.folder)),
    )
    report = Report(
        title=run.recipe.name,
        predictions=evaluation.predictions,
        metrics=evaluation.metrics,
        label_errors=evaluation.label_errors,
        issues=dataset.audit.issues,
        training=training,
        test_set=evaluation.test_set,
        heat_maps=heat_map_images(artifact, evaluation.predictions),
    )
    write_report(run.layout.report, report)
