"""Ctrl-C that is answered at once, also while C++ code is at work.

Python raises KeyboardInterrupt between two bytecodes of the main thread, so a training step or an
import of TensorFlow first runs to its end. A thread of its own hears the signal meanwhile.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

_PATIENCE = 1.0  # seconds before the user is told that the stop is under way
_GRACE = 15.0  # seconds for tidying up before the process is ended

_requested = threading.Event()
_answered = threading.Event()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


_announce: Callable[[str], None] = _say
_grace = _GRACE


def watch() -> None:
    """Hear Ctrl-C from now on: tell the user, and end the process where it does not end itself."""
    heard, hears = os.pipe()
    os.set_blocking(hears, False)
    signal.set_wakeup_fd(hears, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(heard,), daemon=True, name="ctrl-c").start()


def requested() -> bool:
    """Whether the user has pressed Ctrl-C."""
    return _requested.is_set()


def answered() -> None:
    """The user has been told; no announcement is needed any more."""
    _answered.set()


def announce_with(say: Callable[[str], None] | None) -> None:
    """Let ``say`` tell that the stop is under way; None for a plain line on stderr."""
    global _announce
    _announce = say or _say


def allow(seconds: float) -> None:
    """Let the process take so long to end itself after a Ctrl-C."""
    global _grace
    _grace = seconds


def _wait(heard: int) -> None:
    while os.read(heard, 1)[0] != signal.SIGINT:
        pass
    _requested.set()
    again, _, _ = select.select([heard], [], [], _PATIENCE)
    if not again and not _answered.is_set():
        _announce("stopping after this step; Ctrl-C again stops at once")
    if not again:
        select.select([heard], [], [], _grace - _PATIENCE)
    if not _answered.is_set():
        _announce("error: interrupted")
    os._exit(130)
