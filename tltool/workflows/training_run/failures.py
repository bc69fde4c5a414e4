"""How a training run can fail, and what is kept then."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tltool.data.audit.changed_files import ChangedFilesError, files_as_audited
from tltool.errors import (
    EnvironmentProblem,
    GateError,
    Interrupted,
    RunGateError,
    TltoolError,
    first_line,
)
from tltool.runs.device_memory import is_out_of_memory, memory_problem
from tltool.runs.layout import RunLayout, discard_run
from tltool.runs.temporary import names_full_disk
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.peer_run import lost_peer

# TensorFlow passes on an error of Python as text
_IN_TENSORFLOW = re.compile(rf"^(?:[\w.]+\.)?{EnvironmentProblem.__name__}: (.+)$", re.MULTILINE)


@contextmanager
def handle_run_failure(run: RunContext) -> Iterator[None]:
    """Say what is kept when a run does not reach its end, and leave nothing useless behind.

    Raises:
        Interrupted: the user pressed Ctrl-C.
        RunGateError: a gate failed.
        EnvironmentProblem: a disk is full, or the memory, also for small parts of a batch.
    """
    folder = run.known_folder
    try:
        with files_as_audited(lambda: run.items):
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
        elif isinstance(error, EnvironmentProblem | ChangedFilesError):
            first = f"{error.hint}; then go" if error.hint else "when that is mended, go"
            hint = f"{first} on with: tltool runs resume {folder}"
            kind = ChangedFilesError if isinstance(error, ChangedFilesError) else EnvironmentProblem
            raise kind(error.message, hint=hint) from error
        raise
    except Exception as error:
        problem = _environment_problem(error, folder) or lost_peer(run, error)
        if problem is None:
            raise
        raise problem from error
    else:
        _remove_working_files(run.layout)


def _environment_problem(error: Exception, folder: Path) -> EnvironmentProblem | None:
    """Return the error for a disk, or for a full memory; None for any other error."""
    resume = f"tltool runs resume {folder}"
    if sentence := _IN_TENSORFLOW.search(str(error)):
        return EnvironmentProblem(sentence[1], hint=f"when that is mended, go on with: {resume}")
    if names_full_disk(error):
        return EnvironmentProblem(
            f"a disk is full ({first_line(error)})",
            hint=f"free some space for '{folder}' and for temporary files; then go on with: "
            f"{resume}",
        )
    if is_out_of_memory(error):
        problem = memory_problem(error)
        hint = f"{problem.hint}; or go on on a machine with more: {resume}"
        return EnvironmentProblem(problem.message, hint=hint)
    return None


def _remove_working_files(layout: RunLayout) -> None:
    for folder in (layout.cache, layout.state):
        shutil.rmtree(folder, ignore_errors=True)
