"""The workers of a training run, recorded in its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tltool.workflows.training_run.context import RunContext
from tltool.workflows.workers import open_workers, workers_of


@contextmanager
def workers_of_run(run: RunContext) -> Iterator[None]:
    """Start or join the workers of a run, if it has any, and let go of them at the end.

    Raises:
        UsageError, EnvironmentProblem: they cannot be started or reached.
    """
    where = workers_of(run.options)
    with open_workers(where, gpu=run.machine.gpu, observer=run.observer) as engine:
        if engine is not None:
            run.record(replace(run.manifest, cluster=engine.facts()))
        run.engine = engine
        yield
        run.engine = None
