"""Runs a batch in parts where the memory of the device is too small for the whole.

A network without batch statistics computes each row of a batch alone: the rows of several parts
are those of the whole batch within rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tltool.events import Observer
from tltool.runs.device_memory import is_out_of_memory

_WORK = {
    "features": "feature extraction",
    "predictions": "prediction",
    "head": "the head phase",
    "finetune": "the fine-tune phase",
}
_SMALLEST = 8  # after three halvings another reason is likely


@dataclass
class MicroBatches:
    """How many rows of a batch are processed at once, by kind of work.

    Attributes:
        rows: most rows at once by kind; a kind that is missing takes whole batches.
        report: called with the kind, the rows that did not fit and the new limit.
    """

    rows: dict[str, int] = field(default_factory=dict)
    report: Callable[[str, int, int], None] = lambda *_: None

    def halve(self, kind: str, whole: int, error: Exception) -> None:
        """Process half as many rows of this kind from now on, and report it.

        Args:
            kind: of work.
            whole: rows of the batch without any halving.
            error: what was raised. It is raised again where halving cannot help: it is another
                error, there is a single row, or the batch was halved three times.
        """
        now = min(whole, self.rows.get(kind, whole))
        if now == 1 or now * _SMALLEST <= whole or not is_out_of_memory(error):
            raise error
        self.rows[kind] = -(-now // 2)
        self.report(kind, now, self.rows[kind])


_current: ContextVar[MicroBatches | None] = ContextVar("micro_batches", default=None)


@contextmanager
def micro_batches(current: MicroBatches) -> Iterator[None]:
    """Let everything inside divide its batches as ``current`` says, and report to it."""
    token = _current.set(current)
    try:
        yield
    finally:
        _current.reset(token)


def reported_to(
    observer: Observer,
    *,
    known: Mapping[str, int] | None = None,
    record: Callable[[dict[str, int]], None] = lambda _: None,
) -> MicroBatches:
    """Return sizes that are reported to ``observer`` by one warning whenever one is halved.

    Args:
        observer: receives the warnings.
        known: sizes to begin with, of an earlier process.
        record: called with all sizes when one is halved.
    """
    current = MicroBatches(dict(known or {}))

    def report(kind: str, before: int, now: int) -> None:
        record(dict(current.rows))
        result = "the gradients are added up, so that train.batch_size stays as it is"
        if kind in ("features", "predictions"):
            result = "the results are the same within rounding"
        observer.on_message(
            f"{before} images at once are too many for the memory in {_WORK[kind]}: {now} at once "
            f"from now on; {result}",
            level="warning",
        )

    current.report = report
    return current


def current_micro_batches() -> MicroBatches:
    """Return what ``micro_batches`` around the caller was given; a new one outside of it."""
    return _current.get() or MicroBatches()


class InParts:
    """A function of a batch that halves the batch when the memory of the device is full.

    It tries three times, until a part has an eighth of the rows.

    Args:
        function: of a batch [B, …] to a tensor, or a list or tuple of tensors, with B rows each.
        kind: of work, such as features; see ``MicroBatches``.

    Raises:
        tf.errors.OpError: the parts do not fit either, or another error of ``function``.

    Examples:
        >>> double = InParts(lambda batch: 2 * batch, "features")
        >>> double(tf.ones((4, 3))).shape
        TensorShape([4, 3])
    """

    def __init__(self, function: Callable[[Any], Any], kind: str) -> None:
        self._function, self._kind, self._own = function, kind, MicroBatches()

    def __call__(self, batch: Any) -> Any:
        """Return what ``function`` returns for the whole batch."""
        current = _current.get() or self._own
        while True:
            try:
                return self._run(batch, current.rows.get(self._kind, len(batch)))
            except tf.errors.OpError as error:
                current.halve(self._kind, len(batch), error)

    def _run(self, batch: Any, rows: int) -> Any:
        if rows >= len(batch):
            return self._function(batch)
        parts = [self._function(batch[at : at + rows]) for at in range(0, len(batch), rows)]
        with tf.device("/CPU:0"):  # the results need no memory of the GPU
            return tf.nest.map_structure(lambda *some: tf.concat(some, 0), *parts)
