"""What an engine runs: named work whose arguments are JSON, in numbered pieces."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tltool.errors import DataError, EnvironmentProblem, GateError, TltoolError, UsageError

Record = dict[str, Any]
"""What a piece returns: a small JSON document. Large results are files."""
Piece = Callable[[int], Record]
"""Does the piece with a number."""
_KINDS = (UsageError, DataError, GateError, EnvironmentProblem, TltoolError)


@dataclass(frozen=True)
class Work:
    """Work that a worker process can begin from its name and its arguments alone.

    No object travels to a worker: it looks the name up in a table and reads what it needs from the
    files that the arguments name.

    Attributes:
        name: key of the table.
        arguments: JSON-ready; paths are absolute.
        title: of one piece, for messages.
        ahead: how far pieces are handed out behind the first one that has no record, in pieces;
            None for any distance. It bounds what waits for its turn where the order matters.
        seconds: after which ``map`` ends, also without all records; None to wait for all.

    Example:
        >>> Work("features", {"folder": "/data/runs/a/cache/0123"})
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    title: str = "piece"
    ahead: int | None = None
    seconds: float | None = None


class Engine(Protocol):
    """Runs pieces of work, in any order and in any place."""

    @property
    def workers(self) -> int:
        """How many pieces run at once."""

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each piece as it ends, in any order, each number once.

        Args:
            work: what to do.
            numbers: of the pieces.

        Raises:
            TltoolError: a piece raised it, or could not be run.
        """


def begin(table: str, work: Work) -> Piece:
    """Return the function that does the pieces of ``work`` in this process.

    Args:
        table: module with a ``begin`` that takes the name and the arguments of work.
        work: what to do.
    """
    piece: Piece = importlib.import_module(table).begin(work.name, work.arguments)
    return piece


class PieceError(OSError):
    """An error of a worker that is not one for the user, with its text and its error number.

    Args:
        text: type and message of the error.
        number: its ``errno``, where it has one.
    """

    def __init__(self, text: str, number: int | None) -> None:
        super().__init__(text)
        self.errno = number


def error_record(error: Exception) -> Record:
    """Return the record of a piece that raised an error."""
    if not isinstance(error, TltoolError):
        text = f"{type(error).__name__}: {error}"
        return {"error": {"text": text, "errno": getattr(error, "errno", None)}}
    kind = next(one for one in _KINDS if isinstance(error, one))
    return {"error": {"kind": kind.__name__, "message": error.message, "hint": error.hint}}


def raise_error(record: Record) -> None:
    """Raise the error that ``error_record`` described, if the record is of one.

    Raises:
        TltoolError: of the same kind.
        PieceError: it was another error.
    """
    known = record.get("error")
    if known is None:
        return
    if "kind" not in known:
        raise PieceError(known["text"], known["errno"])
    kind = next(one for one in _KINDS if one.__name__ == known["kind"])
    raise kind(known["message"], hint=known["hint"])
