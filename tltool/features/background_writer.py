"""Writes the results of a pass to disk in a thread, while the next batches are computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import tensorflow as tf

from tltool.features.feature_store import FeatureStore

# One is read, one is computed and one is written: more would only need memory.
_BATCHES_IN_FLIGHT = 3
# A killed run repeats at most one shard: some seconds of work.
_SHARD_BATCHES = 8


class BackgroundWriter:
    """Appends batches to a store in a thread; a context manager.

    The thread also waits for the device: a GPU returns from a call before the result is computed.
    At most three batches are in flight. The last rows are on disk when the context ends, also if
    an error or an interrupt ends it.

    Args:
        store: where the rows are appended; nothing else may write to it meanwhile.

    Examples:
        >>> with BackgroundWriter(store) as writer:
        ...     for images in batches:
        ...         writer.append(pooled=network(images))
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "feature-store")
        self._pending: deque[Future[None]] = deque()
        self._uncommitted = 0
        self._failed = False

    def __enter__(self) -> BackgroundWriter:
        return self

    def append(self, **rows: tf.Tensor) -> None:
        """Hand over the next rows of every column; wait where three batches are in flight.

        Raises:
            OSError: earlier rows could not be written.
        """
        while len(self._pending) >= _BATCHES_IN_FLIGHT:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, rows))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until all rows are on disk.

        Raises:
            OSError: they could not be written; not raised in place of another error.
        """
        self._pending.append(self._thread.submit(self._commit))
        self._thread.shutdown(wait=True)
        if error is None:
            for written in self._pending:
                written.result()

    def _write(self, rows: dict[str, tf.Tensor]) -> None:
        if self._failed:  # rows behind a gap would be stored in the wrong places
            return
        try:
            self._store.append(**{name: value.numpy() for name, value in rows.items()})
            self._uncommitted += 1
            if self._uncommitted == _SHARD_BATCHES:
                self._commit()
        except BaseException:
            self._failed = True
            raise

    def _commit(self) -> None:
        if self._uncommitted and not self._failed:
            self._store.commit()
            self._uncommitted = 0
