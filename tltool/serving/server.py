"""The server process: its connections, timeouts, and a graceful shutdown that loses no request."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tltool.serving.accepting import Acceptor, accept_pending, allowed_connections
from tltool.serving.connection_deadlines import TimedProtocol, timed_protocol
from tltool.serving.listener import BACKLOG
from tltool.serving.repeated_errors import limit_repeated_errors
from tltool.serving.settings import Settings

_CLOSED_AT_ONCE = 16  # a share of 1/16 of the connections, if all are in use
_POLL_SECONDS = 0.05  # between two checks for first requests during shutdown
_FIRST_REQUEST = 2.0  # seconds, during shutdown, for the first request of a connection


class Server(uvicorn.Server):
    """A uvicorn server with graceful shutdown: it accepts requests a little longer, then ends.

    Args:
        config: of uvicorn.
        drain: called when the shutdown starts.
        drain_seconds: how long requests are still accepted.
        connections: how many may be open at once; further clients wait.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[], None],
        drain_seconds: float,
        connections: int,
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds
        self.connections = connections
        self._acceptors: list[Acceptor] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals without raising them again: a requested stop is no error.

        SIGHUP, which a closed terminal sends, is handled unless it is ignored, as under ``nohup``.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _stop_signals()}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the application, then accept connections."""
        await super().startup(sockets=[])
        for one in sockets or []:
            one.listen(BACKLOG)
            self._acceptors.append(Acceptor(one, self._handle, self._has_room))

    async def on_tick(self, counter: int) -> bool:
        """Close the connections of clients that have taken too long; ten times a second."""
        now = asyncio.get_running_loop().time()
        for one in list(self.server_state.connections):
            if isinstance(one, TimedProtocol):
                one.close_if_late(now)
        return await super().on_tick(counter)

    def _has_room(self, opening: int) -> bool:
        """Return whether one more connection may be accepted; if not, close dispensable ones.

        That is the one that has been idle for longest, or else those whose clients have been slow
        for longest, so that slow clients cannot keep others out.

        Args:
            opening: connections that were accepted and are not counted by uvicorn yet.
        """
        connections = self.server_state.connections
        if len(connections) + opening < self.connections:
            return True
        idle = [
            (timer.when(), one)
            for one in connections
            if isinstance(one, H11Protocol) and (timer := one.timeout_keep_alive_task) is not None
        ]
        if idle:
            min(idle, key=lambda pair: pair[0])[1].timeout_keep_alive_handler()
        else:
            self._close_slowest()
        return False

    def _close_slowest(self) -> None:
        now = asyncio.get_running_loop().time()
        slow = [
            one
            for one in self.server_state.connections
            if isinstance(one, TimedProtocol) and one.is_dispensable(now)
        ]
        # several, because more slow clients may wait in the queue before the next ordinary one
        slow.sort(key=lambda one: one.waiting_since() or now)
        for one in slow[: max(1, self.connections // _CLOSED_AT_ONCE)]:
            one.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests of all clients that have connected, then stop as uvicorn does.

        uvicorn closes every idle connection, also one that has not sent its first request yet, and
        the kernel resets connections that were not accepted. So the server first stops listening,
        then accepts the pending connections, and gives all connections time for a request.
        """
        self._drain()
        await asyncio.sleep(self._drain_seconds)
        for one in self._acceptors:
            one.stop()
        opening = [task for one in self._acceptors for task in one.opening]
        pending = accept_pending(sockets or [])
        await asyncio.gather(*opening, *(self._handle(connection) for connection in pending))
        await self._wait_for_first_requests()
        await super().shutdown(sockets)

    async def _handle(self, connection: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)

    async def _wait_for_first_requests(self) -> None:
        """Wait until every connection has sent a request, at most ``_FIRST_REQUEST`` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _FIRST_REQUEST
        await asyncio.sleep(_POLL_SECONDS)
        while loop.time() < deadline and any(
            isinstance(one, H11Protocol) and one.cycle is None
            for one in self.server_state.connections
        ):
            await asyncio.sleep(_POLL_SECONDS)


def _stop_signals() -> list[signal.Signals]:
    signals = [signal.SIGTERM, signal.SIGINT]
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        signals.append(hang_up)
    return signals


def make_server(app: ASGIApp, settings: Settings, drain: Callable[[], None]) -> Server:
    """Return a server for ``app``; its ``run`` takes a socket."""
    for name in ("uvicorn", "uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    limit_repeated_errors()
    config = uvicorn.Config(
        app,
        http=timed_protocol(settings.limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=round(settings.idle_seconds),
        timeout_graceful_shutdown=round(settings.stop_seconds),
    )
    return Server(config, drain, settings.drain_seconds, allowed_connections())
