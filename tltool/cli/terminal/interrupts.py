"""React to Ctrl-C at once, even while C++ code is running.

Python raises KeyboardInterrupt between two bytecodes of the main thread, so a training step or an
import of TensorFlow first runs to its end. A separate thread receives the signal meanwhile.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

_PATIENCE = 1.0  # seconds before a message says that the stop is under way
_GRACE = 15.0  # seconds for cleaning up before the process is ended

_requested = threading.Event()
_reported = threading.Event()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


_announce: Callable[[str], None] = _say
_grace = _GRACE


def watch() -> None:
    """React to Ctrl-C from now on: print a message, and end the process if it does not end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader,), daemon=True, name="ctrl-c").start()


def requested() -> bool:
    """Whether the user has pressed Ctrl-C."""
    return _requested.is_set()


def reported() -> None:
    """An error was printed; no further message is needed."""
    _reported.set()


def announce_with(say: Callable[[str], None] | None) -> None:
    """Print the message of a stop with ``say``; None for a plain line on stderr."""
    global _announce
    _announce = say or _say


def allow(seconds: float) -> None:
    """Give the process this many seconds to end after Ctrl-C."""
    global _grace
    _grace = seconds


def _wait(reader: int) -> None:
    while os.read(reader, 1)[0] != signal.SIGINT:
        pass
    _requested.set()
    again, _, _ = select.select([reader], [], [], _PATIENCE)
    if not again and not _reported.is_set():
        _announce("stopping after this step; Ctrl-C again stops at once")
    if not again:
        select.select([reader], [], [], _grace - _PATIENCE)
    if not _reported.is_set():
        _announce("error: interrupted")
    os._exit(130)
