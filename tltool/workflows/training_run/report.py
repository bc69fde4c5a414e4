"""Everything that ``report.html`` says of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tltool.artifact import Artifact
from tltool.data.catalog import SPLIT_NAMES
from tltool.evaluation.metrics.predictions import LabelledPredictions
from tltool.evaluation.report.document import Report, SuspectedLabel, Training
from tltool.evaluation.report.page import write_report
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
    suspects: Sequence[SuspectedLabel],
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
        facts=session.facts,
        counts={name: part.counts() for name, part in parts.items() if len(part)},
        run=shlex.quote(str(session.run.folder)),
    )
    report = Report(
        title=session.recipe.name,
        evaluated=evaluated,
        metrics=metrics,
        suspects=suspects,
        issues=photos.audit.issues,
        training=training,
        heats=heat_map_images(artifact, evaluated),
    )
    write_report(session.run.report, report)
