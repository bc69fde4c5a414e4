"""The rows that one worker needs of each batch, read without the others where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tltool.features.pass_reader import Batch

RowsOf = Callable[[int], np.ndarray]
"""Size of a batch to the rows that this worker needs of it, int64 [R], increasing."""


def own_order(count: int, batch_size: int, rows: RowsOf) -> tuple[np.ndarray, list[int]]:
    """Return the positions that this worker reads of a pass, and how many of each batch.

    Args:
        count: images of the pass.
        batch_size: of whole batches.
        rows: what this worker needs of a batch.
    """
    starts = range(0, count, batch_size)
    parts = [start + rows(min(batch_size, count - start)) for start in starts]
    return np.concatenate(parts), [len(part) for part in parts]


def regrouped(chunks: Iterator[Batch], counts: list[int]) -> Iterator[Batch]:
    """Return chunks joined to batches of ``counts`` rows; a chunk never crosses a border."""
    for count in counts:
        batch = next(chunks)
        while len(batch[0]) < count:
            more = next(chunks)
            batch = tuple(tf.concat(pair, 0) for pair in zip(batch, more, strict=True))
        yield batch


def taken(batches: Iterator[Batch], rows: RowsOf) -> Iterator[Batch]:
    """Return the rows of this worker of batches that were read whole."""
    for batch in batches:
        some = rows(len(batch[0]))
        yield tuple(tf.gather(part, some) for part in batch)
