"""Images with the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tltool.data.item_columns import ItemColumns


def exact_copies(items: ItemColumns) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of each content that occurs more than once: int64 [n], ascending.

    Contents are in the order of their first items. Items without a digest have no copies.
    """
    (known,) = np.nonzero(items.rows["digest_bytes"])
    digests = items.rows["sha256"][known]
    order = np.argsort(digests, kind="stable")
    digests = digests[order]
    new = np.flatnonzero(digests[1:] != digests[:-1]) + 1
    del digests
    starts = np.concatenate([[0], new])
    sizes = np.diff(np.append(starts, len(order)))
    many = np.flatnonzero(sizes > 1)
    for at in many[np.argsort(order[starts[many]])].tolist():
        yield known[order[starts[at] : starts[at] + sizes[at]]]
