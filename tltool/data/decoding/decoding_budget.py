"""A budget of memory for the large images that several threads decode at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tltool.data.decoding.bounded_work import decoded_bytes

BUDGET = 512 * 2**20
"""Bytes; an image that takes more is decoded alone."""


class DecodingBudget:
    """Lets threads decode large images as far as their memory fits into a budget.

    Args:
        size: bytes.
    """

    def __init__(self, size: int = BUDGET) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, data: bytes) -> Iterator[None]:
        """Wait until the image ``data`` fits; small images never wait."""
        needed = decoded_bytes(data)
        if not needed:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + needed <= self._size)
            self._used += needed
        try:
            yield
        finally:
            with self._changed:
                self._used -= needed
                self._changed.notify_all()


IN_THIS_PROCESS = DecodingBudget()
"""Of all threads of this process."""
