"""Clients that send or read slowly are closed, and cannot keep others out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.conftest import unless_thorough
from tests.serving.conftest import LIMITS, SETTINGS
from tests.serving.live_server import Live, serving, versions_of
from tltool.serving.listener import listen

HEAD = "{} {} HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def strict(exported: Path) -> Iterator[Live]:
    """A server with short limits."""
    limits = replace(
        LIMITS, header_seconds=0.8, body_seconds=0.8, discard_seconds=0.4, response_seconds=0.8
    )
    with serving(versions_of(exported.parent), replace(SETTINGS, limits=limits)) as running:
        yield running


def closed_after(live: Live, first: str, *, drip: bytes = b"x", rest: str = "") -> float:
    """Send a byte ten times a second; return after how many seconds the connection is closed."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", live.port), timeout=0.1) as connection:
        connection.sendall(first.encode())
        while time.monotonic() - began < 10:
            try:
                if connection.recv(65536) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
            try:
                connection.sendall(drip)
            except OSError:
                break
    return time.monotonic() - began


@pytest.mark.parametrize(
    "path", unless_thorough(["/healthz", "/v1/models", "/", "/nowhere"], "/v1/models")
)
@pytest.mark.parametrize(
    "length", ["Content-Length: 999\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfff\r\n"]
)
def test_a_slow_body_to_an_address_that_reads_none_is_closed(
    strict: Live, path: str, length: str
) -> None:
    assert closed_after(strict, HEAD.format("GET", path) + length) < 5


def test_a_slow_body_that_is_read_is_closed(strict: Live) -> None:
    head = HEAD.format("POST", "/v1/classify") + "Content-Length: 999\r\n\r\n"
    assert closed_after(strict, head) < 5


@pytest.mark.parametrize(
    "first", unless_thorough(["", "GET /heal", HEAD.format("GET", "/healthz")], "GET /heal")
)
def test_a_slow_header_is_closed(strict: Live, first: str) -> None:
    assert closed_after(strict, first) < 5


def test_a_slow_header_behind_a_complete_request_is_closed(strict: Live) -> None:
    assert closed_after(strict, HEAD.format("GET", "/healthz") + "\r\nGET /") < 5


def test_a_client_that_does_not_read_its_responses_is_closed(strict: Live) -> None:
    request = (HEAD.format("GET", "/openapi.json") + "\r\n").encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", strict.port))
        connection.settimeout(10)
        with pytest.raises(OSError, match=r"reset|Broken"):
            while True:
                connection.sendall(request * 100)
                time.sleep(0.05)


def test_an_idle_connection_outlives_the_limits_of_slow_ones(strict: Live) -> None:
    with closing(HTTPConnection("127.0.0.1", strict.port, timeout=10)) as connection:
        connection.connect()
        first = connection.sock
        for pause in (0, 1.2):  # longer than the limits
            time.sleep(pause)
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            assert response.read() and response.status == 200
        assert connection.sock is first


def test_slow_clients_make_way_for_others(exported: Path) -> None:
    limits = replace(LIMITS, header_seconds=60, body_seconds=60)
    listener = listen("127.0.0.1", 0)
    listener.start()
    with (
        serving(
            versions_of(exported.parent), replace(SETTINGS, limits=limits), listener=listener
        ) as running,
        ExitStack() as slow,
    ):
        running.server.connections = 8
        head = HEAD.format("GET", "/healthz") + "Content-Length: 9\r\n\r\n"
        for number in range(12):
            one = slow.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            one.sendall(head[: 20 if number % 2 else None].encode())
        began = time.monotonic()
        assert running.get("/healthz").status == 200
        assert time.monotonic() - began < 10
