"""React to Ctrl-C, SIGTERM and SIGHUP at once, even while C++ code is running.

SIGTERM is how Slurm, systemd, Kubernetes, `timeout` and `kill` end a process, SIGHUP how a terminal
or an SSH connection that closes does. They stop a command as Ctrl-C does, also as process 1 of a
container, where the kernel would ignore them. With `nohup`, SIGHUP stays without effect.

Python raises KeyboardInterrupt between two bytecodes of the main thread, so a training step or an
import of TensorFlow first runs to its end. A separate thread receives the signal meanwhile.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_PATIENCE = 1.0  # seconds before a message says that the stop is under way
_GRACE = 15.0  # seconds for cleaning up before the process is ended

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _NAMES[signal.SIGHUP] = "SIGHUP"
_DEFAULT = (signal.SIG_DFL, signal.default_int_handler)
_reported = threading.Event()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _try_to_say(text: str) -> None:
    with suppress(Exception):  # the terminal may be gone
        _announce(text)


_announce: Callable[[str], None] = _say
_grace = _GRACE
_signal = 0  # the number of the first one that came


def watch() -> None:
    """React from now on: print a message, and end the process if it does not end."""
    for number in _NAMES:
        if signal.getsignal(number) in _DEFAULT:  # nohup ignores SIGHUP
            signal.signal(number, _interrupt)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader,), daemon=True, name="ctrl-c").start()


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, and keep the number: the thread of `_wait` may see it later."""
    _keep(number)
    raise KeyboardInterrupt


def _keep(number: int) -> None:
    """The first signal decides the exit code; called by both threads, in any order."""
    global _signal
    _signal = _signal or number


def requested() -> bool:
    """Whether the user has pressed Ctrl-C, or SIGTERM or SIGHUP came."""
    return _signal != 0


def exit_code() -> int:
    """Return the exit code of an interrupted command.

    130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    return 128 + (_signal or signal.SIGINT)


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
    while (number := os.read(reader, 1)[0]) not in _NAMES:
        pass
    _keep(number)
    again, _, _ = select.select([reader], [], [], _PATIENCE)
    if not again and not _reported.is_set():
        name = _NAMES[signal.Signals(number)]
        _try_to_say(f"stopping after this step; {name} again stops at once")
    if not again:
        select.select([reader], [], [], _grace - _PATIENCE)
    if not _reported.is_set():
        _try_to_say("error: interrupted")
    os._exit(exit_code())
