"""Smaller parts of a batch where the memory of the device is full, recorded in the manifest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from tltool.features.out_of_memory import micro_batches, reported_to
from tltool.workflows.training_run.context import RunContext


def fitted_to_memory(run: RunContext) -> AbstractContextManager[None]:
    """Let all steps of a run divide a batch that does not fit into the memory of the device.

    The sizes are recorded in the manifest, so that a resumed or reproduced run has them from the
    beginning: its numbers are then bit-identical.
    """

    def record(rows: dict[str, int]) -> None:
        run.record(replace(run.manifest, micro_batches=rows))

    return micro_batches(reported_to(run.observer, known=run.manifest.micro_batches, record=record))
