"""Turn every error into one sentence on stderr and a stable exit code."""

import functools
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer

from tltool.cli.terminal import interrupts
from tltool.errors import EnvironmentProblem, Interrupted, TltoolError, first_line
from tltool.runs.device_memory import is_out_of_memory, memory_problem
from tltool.runs.temporary import names_full_disk, temporary_problem

P = ParamSpec("P")
R = TypeVar("R")

_FULL_BYTES = 2**20  # a disk with less free space counts as full


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
            raise typer.Exit(0) from None
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            problem = explained(error)
            interrupts.reported()
            report_error(problem, json=bool(kwargs.get("json")))
            raise typer.Exit(_exit_code(problem)) from None

    return wrapped


def report_error(
    problem: TltoolError, *, json: bool = False, results: Mapping[str, Any] | None = None
) -> None:
    """Print an error on stderr; with ``json`` also on stdout, after the ``results`` so far."""
    from tltool.cli.terminal.console import fail, print_json

    fail(problem.message, problem.hint)
    if json:
        document = {"message": problem.message, "hint": problem.hint}
        error = {**document, "exit_code": _exit_code(problem)}
        with suppress(EnvironmentProblem):  # the error was printed, and its exit code stands
            print_json({**(results or {}), "error": error})


def _exit_code(problem: TltoolError) -> int:
    if isinstance(problem, Interrupted) and interrupts.requested():
        return interrupts.exit_code()
    return problem.exit_code


def explained(error: BaseException) -> TltoolError:
    """Return the error to print for an exception that reached the command line."""
    if isinstance(error, Interrupted):
        return error
    # after Ctrl-C libraries raise errors of their own, such as a failed import
    if isinstance(error, KeyboardInterrupt) or interrupts.requested():
        return Interrupted("interrupted")
    if isinstance(error, TltoolError):
        return error
    if any("usable temporary directory" in str(link) for link in _chain(error)):
        return temporary_problem(first_line(error))
    if names_full_disk(error):
        return EnvironmentProblem(
            f"the disk{_of_full_folder()} is full ({first_line(error)})",
            hint="free some space there and start again",
        )
    if any(isinstance(link, MemoryError) or is_out_of_memory(link) for link in _chain(error)):
        return memory_problem(error)
    return TltoolError(
        f"internal error: {type(error).__name__}: {first_line(error)}",
        hint="this is a bug in tltool, please report it; run again with --debug for the details",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_full_folder() -> str:
    """Return words for the folder whose disk has no space left, of those that may be meant."""
    for folder in dict.fromkeys((Path.cwd(), Path(tempfile.gettempdir()))):
        with suppress(OSError):
            if shutil.disk_usage(folder).free < _FULL_BYTES:
                return f" of '{folder}'"
    return ""
