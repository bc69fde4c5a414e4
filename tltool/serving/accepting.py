"""Accept connections, no more than the process has files for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

import psutil

MAX_CONNECTIONS = 1024
_MIN_CONNECTIONS = 4
_OTHER_FILES = 32  # that the process may open besides: a new version, libraries
_FULL_SECONDS = 0.05  # until the next check whether a connection has ended
_RETRY_SECONDS = 1.0  # after accepting has failed
_WARNING_SECONDS = 60.0  # between two warnings of the same kind
_log = logging.getLogger("tltool.serving")


def allowed_connections() -> int:
    """Return how many connections may be open at once; raises the limit of open files if it may.

    Every connection is an open file. The limit (``ulimit -n``) is raised up to the hard limit,
    which any user may do.
    """
    try:
        import resource
    except ImportError:  # Windows
        return MAX_CONNECTIONS
    other = psutil.Process().num_fds() + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + other
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # forbidden in some sandboxes
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(_MIN_CONNECTIONS, min(MAX_CONNECTIONS, soft - other))


class Acceptor:
    """Accepts the connections of one socket while there is room for them.

    asyncio's own server accepts as long as clients connect; without free files it logs a traceback
    per attempt, thousands per second. Here, further connections wait in the queue of the kernel.

    Args:
        listener: a listening socket.
        handle: called with each connection.
        has_room: whether one more connection may be accepted.
    """

    def __init__(
        self,
        listener: socket.socket,
        handle: Callable[[socket.socket], Coroutine[Any, Any, None]],
        has_room: Callable[[int], bool],
    ) -> None:
        self._listener, self._handle, self._has_room = listener, handle, has_room
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._warned = -_WARNING_SECONDS
        self.opening: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._resume()

    def stop(self) -> None:
        """Accept no more; the listener stays open."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listener, self._accept)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        if not self._has_room(len(self.opening)):
            self._warn("all connections are in use; further clients wait until one ends")
            self._pause(_FULL_SECONDS)
            return
        try:
            connection = self._listener.accept()[0]
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no free file, or no memory
            self._warn(f"a connection cannot be accepted: {error.strerror}")
            self._pause(_RETRY_SECONDS)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._handle(connection))
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    def _warn(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._warned >= _WARNING_SECONDS:
            self._warned = now
            _log.warning(sentence)


def accept_pending(listeners: list[socket.socket]) -> list[socket.socket]:
    """Return the connections that were not accepted yet, and close ``listeners``."""
    connections = []
    for listener in listeners:
        with listener, contextlib.suppress(OSError):  # BlockingIOError: there are no more
            while True:
                connections.append(listener.accept()[0])
    return connections
