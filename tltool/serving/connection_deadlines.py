"""Time limits for a client: to send a header and a body, and to read the response."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tltool.serving.settings import Limits

_PATIENCE = 1.0  # seconds that a client may keep a connection which another client needs


class TimedProtocol(H11Protocol):
    """HTTP/1.1 that knows since when it waits for its client.

    The server calls ``close_if_late`` several times a second; a timer per connection would have to
    be set for every packet.
    """

    limits = Limits()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_since: float | None = None
        self._body_since: float | None = None
        self._unread_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._header_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """Note whether the body of the request has arrived too, which not every response needs."""
        super().on_response_complete()
        self._update()

    def _update(self) -> None:
        """Note for which part of a request the connection waits now."""
        state, now = self.conn.their_state, self.loop.time()
        if state is h11.IDLE:
            self._body_since = None
            if self.conn.trailing_data[0]:  # a part of a header
                self._header_since = self._header_since or now
        else:
            self._header_since = None
            waits = state is h11.SEND_BODY
            self._body_since = (self._body_since or now) if waits else None

    def waiting_since(self) -> float | None:
        """Return since when the client keeps this connection busy by being slow; None if not."""
        since = (self._header_since, self._body_since, self._unread_since)
        return min((one for one in since if one is not None), default=None)

    def is_dispensable(self, now: float) -> bool:
        """Whether the connection may be closed for another client."""
        since = self.waiting_since()
        return since is not None and now - since > _PATIENCE

    def close_if_late(self, now: float) -> None:
        """Close the connection if its client has taken too long; also one that is closing."""
        unread = self.transport.get_write_buffer_size() > 0
        self._unread_since = (self._unread_since or now) if unread else None
        if _over(self._unread_since, now, self.limits.response_seconds):
            self._reset()
        elif self.transport.is_closing():
            return
        elif _over(self._body_since, now, self.limits.body_seconds + self.limits.discard_seconds):
            self.transport.abort()
        elif _over(self._header_since, now, self.limits.header_seconds):
            self.transport.close()

    def _reset(self) -> None:
        """Close the connection at once; the kernel discards what the client has not read."""
        connection = self.transport.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _over(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since > seconds


def timed_protocol(limits: Limits) -> type[H11Protocol]:
    """Return the protocol with the time limits of ``limits``."""
    return type("Timed", (TimedProtocol,), {"limits": limits})
