"""Everything that ``report.html`` says of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tltool.artifact import Artifact
from tltool.data.catalog import SPLIT_NAMES
from tltool.evaluation.metrics.labelled_predictions import LabelledPredictions
from tltool.evaluation.report.content import LabelErrorExample, Report, Training
from tltool.evaluation.report.evaluation_report import write_report
from tltool.recipe.load import to_yaml
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.prediction.heat_maps import heat_map_images
from tltool.workflows.training_run.trainer import Learning


def write_run_report(
    learning: Learning,
    artifact: Artifact,
    photos: Dataset,
    evaluated: LabelledPredictions,
    metrics: Mapping[str, Any],
    suspects: Sequence[LabelErrorExample],
) -> None:
    """Write the run's report.

    Raises:
        OSError: the disk is full or not writable.
    """
    session = learning.session
    parts = {name: photos.part(name) for name in SPLIT_NAMES}
    training = Training(
        history=learning.history,
        best=learning.best_row,
        recipe=to_yaml(session.recipe),
        manifest=session.facts,
        counts={name: part.counts() for name, part in parts.items() if len(part)},
        run=shlex.quote(str(session.run.folder)),
    )
    report = Report(
        title=session.recipe.name,
        predictions=evaluated,
        metrics=metrics,
        label_errors=suspects,
        issues=photos.audit.issues,
        training=training,
        heat_maps=heat_map_images(artifact, evaluated),
    )
    write_report(session.run.report, report)
