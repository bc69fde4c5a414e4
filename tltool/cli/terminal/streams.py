"""The standard streams of the command line: what is printed arrives, or the exit code says so."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from tltool.errors import EnvironmentProblem


class _Stream:
    """A text stream whose errors are handled in one place; all else is that of the stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, see ``io.TextIOBase.write``."""
        try:
            return int(self.stream.write(text))
        except OSError as error:
            self._failed(error)
            return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts, see ``io.IOBase.writelines``."""
        for text in lines:
            self.write(text)

    def flush(self) -> None:
        """Write what is buffered, see ``io.IOBase.flush``."""
        try:
            self.stream.flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """Discard what is buffered, and all that follows."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)


class _Results(_Stream):
    """Standard output: a result that is lost is an error, also at the next write and flush."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write a text, see ``io.TextIOBase.write``."""
        self._check()
        return super().write(text)

    def flush(self) -> None:
        """Write what is buffered, see ``io.IOBase.flush``."""
        self._check()
        super().flush()

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        self._lost = error
        if not isinstance(error, BrokenPipeError):  # else its reader, such as `head`, has exited
            self._lost = EnvironmentProblem(
                f"the output cannot be written: {error.strerror or error}",
                hint="results go to standard output; send them to a place with space",
            )
        raise self._lost from None


class _Messages(_Stream):
    """Standard error: a message that is lost does not stop the work, nor change its exit code."""


@contextmanager
def before_verdict() -> Iterator[None]:
    """Print results that come before an exit code which says what they mean.

    If the reader of standard output has exited, as `head` does, the rest is not printed, and the
    command goes on to its exit code: a quality gate must not pass because nobody reads the table.
    """
    with suppress(BrokenPipeError):
        yield


def open_streams() -> None:
    """Replace closed streams by the null device, and escape what a stream cannot encode."""
    for name, kind in (("stdout", _Results), ("stderr", _Messages)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):  # not that of a notebook
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, kind(stream))


def close_streams() -> None:
    """Write what is buffered and give the streams back, which the interpreter flushes once more."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _Stream):
            with suppress(OSError, EnvironmentProblem):
                stream.flush()
            setattr(sys, name, stream.stream)


def message_stream(stream: TextIO) -> TextIO:
    """Return a stream as standard error: if it cannot be written, messages are discarded."""
    return cast("TextIO", _Messages(stream))
