"""What an engine runs: named work whose arguments are JSON, in numbered pieces."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tltool.errors import DataError, EnvironmentProblem, GateError, TltoolError, UsageError

Record = dict[str, Any]
"""What a piece returns: a small JSON document. Large results are files."""
Piece = Callable[[int, Any], Record]
"""Does the piece with a number; takes its input too, None where the work has none."""
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
        inputs: returns what only the piece with a number needs, JSON-ready; it travels with it.
            None where the arguments say everything.
        ahead: how far pieces are handed out behind the first one that has no record, in pieces;
            None for any distance. It bounds what waits for its turn where the order matters.
        seconds: after which ``map`` ends, also without all records; None to wait for all.
        threads: threads that a worker computes with, where their number may change the result; on a
            cluster a piece then has as many CPUs. None for the choice of the engine.
        long: whether a piece takes minutes or hours and must not be done by two workers at once: no
            piece waits at a worker, and a silent one is not handed out again.

    Examples:
        >>> Work("features", {"folder": "/data/runs/a/cache/0123"})
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    title: str = "piece"
    inputs: Callable[[int], Any] | None = field(default=None, compare=False)
    ahead: int | None = None
    seconds: float | None = None
    threads: int | None = None
    long: bool = False

    def input_of(self, number: int) -> Any:
        """Return the input of a piece, None where the work has none."""
        return None if self.inputs is None else self.inputs(number)


class Engine(Protocol):
    """Runs pieces of work, in any order and in any place."""

    @property
    def workers(self) -> int:
        """How many pieces run at once."""

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each piece as it ends, in any order, each number once.

        Args:
            work: what to do.
            numbers: of the pieces; the next one is taken when a worker can begin it.

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
