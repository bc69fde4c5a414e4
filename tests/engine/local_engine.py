"""An engine without workers, for tests: pieces run one after another in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tltool.engine.work import Record, Work, begin


class LocalEngine:
    """Runs all pieces in this process; the reference for every other engine.

    Args:
        table: see `tltool.engine.work.begin`.

    Example:
        >>> engine = LocalEngine("tltool.workflows.at_work")
        >>> for number, record in engine.map(Work("features", {"folder": folder}), range(8)):
        ...     print(number, record["rows"])
    """

    workers = 1

    def __init__(self, table: str) -> None:
        self._table = table

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each piece in the order of ``numbers``.

        Raises:
            TltoolError: a piece raised it.
        """
        piece = begin(self._table, work)
        for number in numbers:
            yield number, piece(number, work.input_of(number))
