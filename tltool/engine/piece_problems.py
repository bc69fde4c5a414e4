"""Messages for the user about a piece of work that no worker can do."""

from __future__ import annotations

from tltool.engine.work import Work
from tltool.errors import EnvironmentProblem, first_line
from tltool.runs.device_memory import says_out_of_memory

_LONGEST_TEXT = 200  # of an error, in a message
_DEAD = {"WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError",
         "OwnerDiedError"}  # fmt: skip


def lost(work: Work, number: int, error: Exception, attempts: int) -> EnvironmentProblem:
    """Return the error for a piece without a record.

    Args:
        work: what the piece is of.
        number: of the piece.
        error: why, as Ray says it.
        attempts: how often it was tried.
    """
    kind = type(error).__name__
    cause = getattr(error, "cause", None)  # of a RayTaskError, whose own text is a traceback
    text = first_line(cause if isinstance(cause, Exception) else error)[:_LONGEST_TEXT]
    if kind not in _DEAD:
        return EnvironmentProblem(
            f"no worker can do {work.title} {number}: Ray says '{kind}: {text}'",
            hint="`tltool cluster check` compares the machines; the logs of Ray say more",
        )
    memory = "memory" in kind.lower()
    reason = "its memory was full" if memory else "the system or another process ended it"
    return EnvironmentProblem(
        f"the worker of {work.title} {number} died {attempts} times: {reason} ('{text}')",
        hint="fewer workers on a machine need less memory; `dmesg` and the logs of Ray name the "
        "cause",
    )


def failed(work: Work, number: int, error: Exception) -> EnvironmentProblem:
    """Return the error for a piece that raised one which is not for the user."""
    text = first_line(error)[:_LONGEST_TEXT]
    if says_out_of_memory(str(error)):
        return EnvironmentProblem(
            f"the memory of a worker is full: {work.title} {number} ended with '{text}'",
            hint="fewer workers on a machine need less memory",
        )
    return EnvironmentProblem(
        f"{work.title} {number} failed in a worker: {text}",
        hint="the same command without workers shows whether the cause is the worker's machine",
    )
