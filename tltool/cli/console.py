"""Everything that is drawn in a terminal: results, tables, errors, JSON."""

import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tltool.errors import TltoolError

P = ParamSpec("P")
R = TypeVar("R")
ACCENT = "cyan"
_UNWRAPPED = 10_000


def out() -> Console:
    """Return the console of results (stdout)."""
    return Console(highlight=False, width=_width(sys.stdout.isatty()))


def err() -> Console:
    """Return the console of talk (stderr)."""
    return Console(stderr=True, highlight=False, width=_width(sys.stderr.isatty()))


def _width(terminal: bool) -> int | None:
    """Return None for the terminal's own width; a file or a pipe gets lines that never wrap."""
    return None if terminal or "COLUMNS" in os.environ else _UNWRAPPED


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print an aligned table; columns that hold only numbers are right-aligned."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    table.pad_edge = False
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        numeric = bool(cells) and all(_looks_numeric(cell) for cell in cells)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            header_style="bold",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _looks_numeric(cell: str) -> bool:
    return bool(cell) and not any(letter.isalpha() for letter in cell)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what goes wrong in ``command`` into one sentence and a stable exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        debug = bool(kwargs.get("debug"))
        try:
            return command(*args, **kwargs)
        except TltoolError as error:
            if debug:
                traceback.print_exc()
            fail(error.message, error.hint)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            fail("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # the reader of our output, such as `head`, has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if debug:
                traceback.print_exc()
            raise typer.Exit(_explain_unexpected(error)) from None

    return wrapped


def _explain_unexpected(error: Exception) -> int:
    """Say what an error that nobody raised on purpose means; return the exit code."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        fail(f"the disk is full: {error}", "free some space and start again")
        return 5
    first = (str(error).strip() or "no message").splitlines()[0]
    fail(
        f"internal error: {type(error).__name__}: {first}",
        "this is a bug in tltool; run again with --debug and report what it prints",
    )
    return 1


def fail(message: str, hint: str | None = None) -> None:
    """Say on stderr what is wrong and how to mend it."""
    console = err()
    line = Text("error: ", style="bold red")
    line.append(message.strip("\n"), style="not bold default")
    console.print(line)
    if hint:
        console.print(Text.assemble(("hint: ", f"bold {ACCENT}"), hint))
