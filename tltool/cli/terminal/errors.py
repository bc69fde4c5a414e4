"""Turn every error into one sentence on stderr and a stable exit code."""

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

import typer

from tltool.cli.terminal import interrupts
from tltool.errors import EnvironmentProblem, Interrupted, TltoolError

P = ParamSpec("P")
R = TypeVar("R")

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Return ``command`` with its errors printed as one sentence and turned into an exit code.

    With the option ``debug`` the traceback is printed too; with ``json`` the error is also printed
    as a JSON document.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except BrokenPipeError:
            close_output()
            raise typer.Exit(0) from None
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            problem = explained(error)
            interrupts.reported()
            report_error(problem, json=bool(kwargs.get("json")))
            raise typer.Exit(problem.exit_code) from None

    return wrapped


def report_error(
    problem: TltoolError, *, json: bool = False, results: Mapping[str, Any] | None = None
) -> None:
    """Print an error on stderr; with ``json`` also on stdout, after the ``results`` so far."""
    from tltool.cli.terminal.console import fail, print_json

    fail(problem.message, problem.hint)
    if json:
        document = {"message": problem.message, "hint": problem.hint}
        error = {**document, "exit_code": problem.exit_code}
        print_json({**(results or {}), "error": error})


def explained(error: BaseException) -> TltoolError:
    """Return the error to print for an exception that reached the command line."""
    if isinstance(error, Interrupted):
        return error
    # after Ctrl-C libraries raise errors of their own, such as a failed import
    if isinstance(error, KeyboardInterrupt) or interrupts.requested():
        return Interrupted("interrupted")
    if isinstance(error, TltoolError):
        return error
    if any(map(_is_disk_full, _chain(error))):
        return EnvironmentProblem(
            f"the disk is full ({_first_line(error)})", hint="free some space and start again"
        )
    if any(isinstance(link, MemoryError) or _is_device_full(link) for link in _chain(error)):
        return EnvironmentProblem(
            f"the memory is full ({_first_line(error)})",
            hint="smaller batches need less: --set train.batch_size=8",
        )
    return TltoolError(
        f"internal error: {type(error).__name__}: {_first_line(error)}",
        hint="this is a bug in tltool, please report it; run again with --debug for the details",
    )


def close_output() -> None:
    """Discard buffered output, because its reader, such as `head`, has exited."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    # h5py and TensorFlow give the message of the system without its error number
    system_message = isinstance(error, OSError) or type(error).__module__.startswith("tensorflow")
    return system_message and os.strerror(errno.ENOSPC).lower() in str(error).lower()


def _is_device_full(error: BaseException) -> bool:
    """Whether TensorFlow ran out of memory; by name, because importing it takes seconds."""
    return type(error).__name__ == "ResourceExhaustedError" and "OOM" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
