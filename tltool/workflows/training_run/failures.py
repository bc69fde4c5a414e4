"""How a training run can fail, and what is kept then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tltool.errors import (
    EnvironmentProblem,
    GateError,
    Interrupted,
    RunGateError,
    TltoolError,
)
from tltool.runs.layout import RunLayout, discard_run
from tltool.workflows.training_run.context import RunContext


@contextmanager
def handle_run_failure(run: RunContext) -> Iterator[None]:
    """Say what is kept when a run does not reach its end, and leave nothing useless behind.

    Raises:
        Interrupted: the user pressed Ctrl-C.
        RunGateError: a gate failed.
    """
    folder = run.layout.folder
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; the run folder {folder} keeps what was done, no export was written",
            hint=f"go on with: tltool runs resume {folder}",
        ) from None
    except GateError as error:
        run.record(replace(run.manifest, status="failed"))
        _remove_working_files(run.layout)
        raise RunGateError(error.message, hint=error.hint, run=folder) from error
    except TltoolError as error:
        if run.manifest.weights_digest is None:
            # nothing was computed: the same command must work once the mistake is mended
            discard_run(run.layout)
        elif isinstance(error, EnvironmentProblem):
            first = f"{error.hint}; then go" if error.hint else "when that is mended, go"
            hint = f"{first} on with: tltool runs resume {folder}"
            raise EnvironmentProblem(error.message, hint=hint) from error
        raise
    else:
        _remove_working_files(run.layout)


def _remove_working_files(layout: RunLayout) -> None:
    for folder in (layout.cache, layout.state):
        shutil.rmtree(folder, ignore_errors=True)
