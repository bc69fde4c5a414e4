"""A log filter: the same error is logged with its traceback once a minute, not per request."""

from __future__ import annotations

import logging
import time
import traceback

_SECONDS = 60.0
_LOGGERS = ("uvicorn.error", "asyncio", "tltool.serving")
_MAX_PLACES = 256  # so that the memory is bounded


class RepeatedErrors(logging.Filter):
    """Drops records with the exception of an earlier record, at most for a minute.

    The next record after it says how many were dropped. Two exceptions are the same if their types
    and the places where they were raised are.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._logged: dict[tuple[str, str, int], float] = {}
        self._dropped: dict[tuple[str, str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log ``record``."""
        place = _place(record)
        if place is None:
            return True
        now = time.monotonic()
        if now - self._logged.get(place, -self._seconds) < self._seconds:
            self._dropped[place] = self._dropped.get(place, 0) + 1
            return False
        if len(self._logged) >= _MAX_PLACES:
            self._logged.clear()
            self._dropped.clear()
        self._logged[place] = now
        dropped = self._dropped.pop(place, 0)
        if dropped:
            record.msg = f"{record.getMessage()} ({dropped} more like it since the last report)"
            record.args = ()
        return True


def _place(record: logging.LogRecord) -> tuple[str, str, int] | None:
    """Return type, file and line of the exception of ``record``; None without an exception."""
    if not record.exc_info or record.exc_info[1] is None:
        return None
    error = record.exc_info[1]
    last = next(reversed(traceback.extract_tb(error.__traceback__)), None)
    where = ("", 0) if last is None else (last.filename, last.lineno or 0)
    return (type(error).__qualname__, *where)


def limit_repeated_errors() -> None:
    """Add the filter to all loggers of the server, once."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, RepeatedErrors) for one in logger.filters):
            logger.addFilter(RepeatedErrors())
