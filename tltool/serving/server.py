"""The server process: its socket, timeouts, and a graceful shutdown that loses no request."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from tltool.errors import EnvironmentProblem, UsageError
from tltool.serving.settings import Limits, Settings

_CONNECTIONS = 1024
_BACKLOG = 1024
_LAST_PORT = 65535
_KEEP_ALIVE = 15  # seconds that an idle connection stays open
_POLL_SECONDS = 0.05  # between two checks for first requests during shutdown
_FIRST_REQUEST = 2.0  # seconds, during shutdown, for the first request of a connection


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host`` and ``port``; port 0 takes any free one.

    Raises:
        EnvironmentProblem: the port is in use, or not permitted for this user.
        UsageError: there is no such host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise _no_such_address(host) from None
    # asyncio turns Nagle's algorithm off (40 ms per request) only if the protocol is given
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _no_such_address(host) from None
        raise _port_problem(host, port, error) from None
    return listener


def start_listening(listener: socket.socket) -> None:
    """Let clients connect; the server handles their requests as soon as it runs.

    Raises:
        EnvironmentProblem: another process has taken the port meanwhile.
    """
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise _port_problem(host, port, error) from None


def _no_such_address(host: str) -> UsageError:
    return UsageError(
        f"there is no address '{host}' on this machine",
        hint="127.0.0.1 for this machine only, 0.0.0.0 for all networks",
    )


def _port_problem(host: str, port: int, error: OSError) -> EnvironmentProblem:
    reason = {
        errno.EADDRINUSE: "is in use",
        errno.EACCES: "is not permitted for this user: ports below 1024 need root",
    }.get(error.errno or 0, f"cannot be used: {error.strerror}")
    other = port + 1 if port < _LAST_PORT else 8501
    return EnvironmentProblem(
        f"port {port} of {host} {reason}",
        hint=f"choose another with --port {other}, or any free one with --port 0",
    )


def url_of(listener: socket.socket) -> str:
    """Return the URL of the server."""
    host, port = listener.getsockname()[:2]
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


class HeaderTimeoutProtocol(H11Protocol):
    """HTTP with a time limit for the header of a request."""

    header_seconds = Limits().header_seconds
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Receive part of a request; wait for the rest of its header if it is incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._close_if_idle)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_if_idle(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def header_timeout_protocol(header_seconds: float) -> type[H11Protocol]:
    """Return the protocol that waits ``header_seconds`` for the header of a request."""
    return type("HeaderTimeout", (HeaderTimeoutProtocol,), {"header_seconds": header_seconds})


class Server(uvicorn.Server):
    """A uvicorn server with graceful shutdown: it accepts requests a little longer, then ends.

    Args:
        config: of uvicorn.
        drain: called when the shutdown starts.
        drain_seconds: how long requests are still accepted.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT without raising them again: a requested stop is no error."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {one: signal.signal(one, self.handle_exit) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests of all clients that have connected, then stop as uvicorn does.

        uvicorn closes every idle connection, also one that has not sent its first request yet, and
        the kernel resets connections that were not accepted. So the server first stops listening,
        then accepts the pending connections, and gives all connections time for a request.
        """
        self._drain()
        await asyncio.sleep(self._drain_seconds)
        listeners = [one.dup() for one in sockets or []]
        for server in self.servers:
            server.close()
        pending = accept_pending(listeners)
        await asyncio.gather(*(self._handle(connection) for connection in pending))
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


def accept_pending(listeners: list[socket.socket]) -> list[socket.socket]:
    """Return the connections that were not accepted yet, and close ``listeners``."""
    connections = []
    for listener in listeners:
        with listener, suppress(OSError):  # BlockingIOError: there are no more
            while True:
                connections.append(listener.accept()[0])
    return connections


def make_server(app: FastAPI, settings: Settings, drain: Callable[[], None]) -> Server:
    """Return a server for ``app``; its ``run`` takes a socket."""
    for name in ("uvicorn", "uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=header_timeout_protocol(settings.limits.header_seconds),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=round(settings.stop_seconds),
    )
    return Server(config, drain, settings.drain_seconds)
