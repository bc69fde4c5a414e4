"""Errors for the user: each has a message of one sentence, a hint and an exit code."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
        if hint:  # shown below a traceback
            self.add_note(f"hint: {hint}")

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"error: {self.message}", *([f"hint: {self.hint}"] if self.hint else [])]


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

    Capital and small letters count as equal. ``prefix`` is put before the word suggested.
    """
    words = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return f" Did you mean '{prefix}{words[near[0]]}'?" if near else ""


def some_of(names: Sequence[str], most: int = 8) -> str:
    """Return the first names for a sentence, and how many more there are: ``a, b and 3 more``."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def counted(count: int, one: str, several: str) -> str:
    """Return a number with the words for one or for several: ``1 file is``, ``2,000 files are``."""
    return f"{count:,} {one if count == 1 else several}"


_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # of emoji, Persian and Indic scripts


def visible(text: str, *, keep: str = "") -> str:
    r"""Return text of someone else as it may be shown: what is no character to see is escaped.

    Control characters could change the terminal or forge a line; U+202E reverses what follows it,
    so that a name looks like another one.

    Args:
        text: a file name, a class name, or a message of a library.
        keep: characters that stay, such as a line feed.

    Examples:
        >>> visible("cat\u202egnp.exe")
        'cat\u202egnp.exe'
    """
    if text.isprintable():
        return text
    shown = _JOINERS + keep
    return "".join(
        c if c.isprintable() or c in shown or unicodedata.category(c) == "Zs" else ascii(c)[1:-1]
        for c in text
    )


def one_line(name: str) -> str:
    r"""Return a file's name for a sentence: line breaks and the like escaped, as in ``a\nb``."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


@contextmanager
def reading(
    path: object, what: str, *, hint: str | None = None, error: type[TltoolError] = DataError
) -> Iterator[None]:
    """Report a failure to parse a user's file as an error about that file, whatever was raised.

    Parsers raise exceptions of many types for malformed files. The body contains only the parser
    and the conversion of its result, so that a bug elsewhere is still reported as a bug.

    Args:
        path: of the file.
        what: kind of the file, as in "state" or "table".
        hint: how to solve the problem.
        error: class of the error that is raised instead.

    Raises:
        TltoolError: the body raised it, or ``error`` for any other exception.

    Examples:
        >>> with reading(path, "manifest", hint="restore it from a copy"):
        ...     document = json.loads(path.read_bytes())
    """
    try:
        yield
    except TltoolError:
        raise
    except Exception as problem:
        message = f"the {what} '{one_line(str(path))}' cannot be read: {why_unreadable(problem)}"
        raise error(message, hint=hint) from problem


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it needs more memory than is available"),
    (UnicodeError, "it is not text in UTF-8"),
    (EOFError, "it is truncated"),
    (KeyError, "the entry {} is missing"),
)


def why_unreadable(problem: Exception) -> str:
    """Return the reason why a file could not be parsed, as the end of a sentence.

    Examples:
        >>> why_unreadable(EOFError())
        'it is truncated'
    """
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    for kind, reason in _REASONS:
        if isinstance(problem, kind):
            return reason.format(one_line(str(problem))[:100])
    return one_line(first_line(problem).rstrip("."))[:300]


def first_line(error: BaseException) -> str:
    r"""Return the first line of the message of an error; the name of its type if it has none.

    Examples:
        >>> first_line(ValueError("a shape is wrong\nat line 3"))
        'a shape is wrong'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
