"""Errors for the user: each has a message of one sentence, a hint and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TltoolError(Exception):
    """Base of every error that tltool raises on purpose.

    Args:
        message: one sentence that names the file or key and what is wrong with it.
        hint: how to solve the problem, ideally a command.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TltoolError):
    """A wrong argument, recipe or name (exit code 2)."""

    exit_code = 2


class DataError(TltoolError):
    """The images or files given cannot be used (exit code 3)."""

    exit_code = 3


class GateError(TltoolError):
    """A quality gate failed: accuracy, parity or reproduction (exit code 4)."""

    exit_code = 4


class RunGateError(GateError):
    """What a training run made is not good enough; the run is kept, and nothing was exported.

    Args:
        message: as in ``TltoolError``.
        hint: as in ``TltoolError``.
        run: the run folder.
    """

    def __init__(self, message: str, *, hint: str | None = None, run: Path) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class EnvironmentProblem(TltoolError):
    """The machine cannot do it: weights unreachable, disk full, no GPU (exit code 5)."""

    exit_code = 5


class Interrupted(TltoolError):
    """The user pressed Ctrl-C; what was finished is kept (exit code 130)."""

    exit_code = 130


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return ``" Did you mean 'x'?"`` for the known word nearest to ``word``, else ``""``.

    ``prefix`` is put before the word suggested.
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{prefix}{near[0]}'?" if near else ""


def one_line(name: str) -> str:
    r"""Return a file's name for a sentence: line breaks and the like escaped, as in ``a\nb``."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
