"""How a training run can end before its end, and what is kept then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tltool.errors import (
    EnvironmentProblem,
    GateError,
    Interrupted,
    RunRefusedError,
    TltoolError,
)
from tltool.runs.layout import RunLayout, discard_run
from tltool.workflows.training_run.context import Session


@contextmanager
def handle_run_failure(session: Session) -> Iterator[None]:
    """Say what is kept when a run does not reach its end, and leave nothing useless behind.

    Raises:
        Interrupted: the user pressed Ctrl-C.
        RunRefusedError: a gate failed.
    """
    run = session.run
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; the run folder {run.folder} keeps what was done, no export was written",
            hint=f"go on with: tltool runs resume {run.folder}",
        ) from None
    except GateError as error:
        session.note(status="failed")
        _remove_working_files(run)
        raise RunRefusedError(error.message, hint=error.hint, run=run.folder) from error
    except TltoolError as error:
        if "weights_digest" not in session.facts:
            # nothing was computed: the same command must work once the mistake is mended
            discard_run(run)
        elif isinstance(error, EnvironmentProblem):
            first = f"{error.hint}; then go" if error.hint else "when that is mended, go"
            hint = f"{first} on with: tltool runs resume {run.folder}"
            raise EnvironmentProblem(error.message, hint=hint) from error
        raise
    else:
        _remove_working_files(run)


def _remove_working_files(run: RunLayout) -> None:
    for folder in (run.cache, run.state):
        shutil.rmtree(folder, ignore_errors=True)
