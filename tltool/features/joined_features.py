"""Join the features of several passes into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tltool.features.extract import Features
from tltool.features.stored_rows import Rows


class JoinedRows:
    """Rows of several columns, concatenated."""

    def __init__(self, columns: Sequence[Rows]) -> None:
        self._columns = columns
        self._starts = np.cumsum([0, *(len(column) for column in columns)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows ``start`` to ``stop``."""
        return self.take(range(start, min(stop, len(self))))

    def take(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the rows with these numbers."""
        owners = np.searchsorted(self._starts, np.asarray(numbers), side="right") - 1
        rows = [
            self._columns[owner].take([int(number - self._starts[owner])])
            for number, owner in zip(numbers, owners, strict=True)
        ]
        return np.concatenate(rows)


def joined(passes: Sequence[Features]) -> Features:
    """Return the features of images that were extracted in several passes.

    Args:
        passes: features of each pass; images are numbered in this order.
    """
    if len(passes) == 1:
        return passes[0]
    starts = np.cumsum([0, *(len(one.index) for one in passes[:-1])])
    activations = [one.activations for one in passes if one.activations is not None]
    return Features(
        index=np.concatenate([one.index + at for one, at in zip(passes, starts, strict=True)]),
        labels=np.concatenate([one.labels for one in passes]),
        pooled=np.concatenate([one.pooled for one in passes]),
        activations=JoinedRows(activations) if activations else None,
    )
