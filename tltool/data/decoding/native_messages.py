"""Collects what C libraries print to standard error, such as libjpeg's warnings."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from types import TracebackType
from typing import IO

_STDERR = 2
_JPEG_WARNING = re.compile(
    rb"^(?:Corrupt JPEG data: .*|Premature end of JPEG file.*|Unsupported marker type .*"
    rb"|Invalid SOS parameters for sequential JPEG.*|Inconsistent progression sequence.*"
    rb"|Unsupported JPEG .*|Invalid JPEG .*|Bogus .*)$"
)
_LOCK = threading.Lock()


class JpegWarnings:
    """A context in which libjpeg's warnings are collected instead of printed.

    libjpeg, as TensorFlow uses it, has no other way to report that it had to skip or invent data.
    Within the context, the file descriptor of standard error is a temporary file. Everything else
    that is written to it is passed on by ``take`` and at the end. Only one thread has the context
    at a time.

    Examples:
        >>> with JpegWarnings() as warnings:
        ...     decode(data)
        ...     messages = warnings.take()
    """

    def __enter__(self) -> JpegWarnings:
        _LOCK.acquire()
        try:
            _flush()
            self._printed = 0
            self._file: IO[bytes] = tempfile.TemporaryFile()
            self._outer = os.dup(_STDERR)
            os.dup2(self._file.fileno(), _STDERR)
        except BaseException:
            _LOCK.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            _flush()
            os.dup2(self._outer, _STDERR)
            self.take()
        finally:
            os.close(self._outer)
            self._file.close()
            _LOCK.release()

    def take(self) -> list[str]:
        """Return the warnings since the last call, and pass everything else on."""
        size = os.fstat(self._file.fileno()).st_size
        if size == self._printed:
            return []
        text = os.pread(self._file.fileno(), size - self._printed, self._printed)
        self._printed = size
        warnings: list[bytes] = []
        others: list[bytes] = []
        for line in text.splitlines(keepends=True):
            matched = _JPEG_WARNING.match(line.rstrip(b"\r\n"))
            (warnings if matched else others).append(line)
        os.write(self._outer, b"".join(others))
        return [line.decode(errors="replace").strip() for line in warnings]


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
