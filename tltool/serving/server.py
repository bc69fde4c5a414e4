"""The process that serves: a socket, patience with clients, and an end that loses no request."""

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
_LET_IN = 0.05  # seconds between two looks at who has been let in
_FIRST_REQUEST = 2.0  # seconds, at the end, for the requests of clients that were let in last


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host`` and ``port``; port 0 takes any free one.

    Raises:
        EnvironmentProblem: the port is in use, or not for this user.
        UsageError: there is no such host.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError:
        raise _no_such_address(host) from None
    # asyncio turns Nagle's algorithm off (40 ms a request) only where the protocol is named
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


def open_to_clients(listener: socket.socket) -> None:
    """Let clients connect; they are answered as soon as the server runs.

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
        hint="127.0.0.1 for this machine alone, 0.0.0.0 for all networks it is in",
    )


def _port_problem(host: str, port: int, error: OSError) -> EnvironmentProblem:
    wrong = {
        errno.EADDRINUSE: "is in use",
        errno.EACCES: "is not for this user: ports below 1024 belong to root",
    }.get(error.errno or 0, f"cannot be used: {error.strerror}")
    other = port + 1 if port < _LAST_PORT else 8501
    return EnvironmentProblem(
        f"port {port} of {host} {wrong}",
        hint=f"choose another with --port {other}, or any free one with --port 0",
    )


def address_of(listener: socket.socket) -> str:
    """Return the address that a browser opens."""
    host, port = listener.getsockname()[:2]
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


class PatientProtocol(H11Protocol):
    """HTTP that waits so long for the head of a request, and no longer."""

    header_seconds = Limits().header_seconds
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take part of a request; wait for the rest of its head if that is not whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def patient_protocol(header_seconds: float) -> type[H11Protocol]:
    """Return the protocol that waits ``header_seconds`` for the head of a request."""
    return type("Patient", (PatientProtocol,), {"header_seconds": header_seconds})


class Server(uvicorn.Server):
    """Uvicorn's, told to stop: takes requests a little longer, finishes them, returns.

    Args:
        config: of uvicorn.
        drain: called when the stop begins.
        drain_seconds: how long requests are still taken.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear SIGTERM and SIGINT; an end that was asked for is a good end, so none is raised."""
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
        """Let clients that are on their way come in and leave, then stop as uvicorn does.

        uvicorn closes every connection that waits for a request, also one whose first request is
        still to come, and the kernel resets those that nobody has let in yet; so first the door is
        shut, then these are let in, and all that are in get time to ask.
        """
        self._drain()
        await asyncio.sleep(self._drain_seconds)
        doors = [one.dup() for one in sockets or []]
        for listener in self.servers:
            listener.close()
        await asyncio.gather(*(self._let_in(visitor) for visitor in waiting(doors)))
        await self._first_requests()
        await super().shutdown(sockets)

    async def _let_in(self, visitor: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(protocol, visitor)

    async def _first_requests(self) -> None:
        """Wait until every connection has asked something, or for long enough."""
        loop = asyncio.get_running_loop()
        last = loop.time() + _FIRST_REQUEST
        await asyncio.sleep(_LET_IN)
        while loop.time() < last and any(
            isinstance(one, H11Protocol) and one.cycle is None
            for one in self.server_state.connections
        ):
            await asyncio.sleep(_LET_IN)


def waiting(doors: list[socket.socket]) -> list[socket.socket]:
    """Return the connections that nobody has let in, and close the listening sockets ``doors``."""
    visitors = []
    for door in doors:
        with door, suppress(OSError):  # BlockingIOError: there are no more
            while True:
                visitors.append(door.accept()[0])
    return visitors


def make_server(app: FastAPI, settings: Settings, drain: Callable[[], None]) -> Server:
    """Return a server for ``app``, to be run with a socket."""
    for name in ("uvicorn", "uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        http=patient_protocol(settings.limits.header_seconds),
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
