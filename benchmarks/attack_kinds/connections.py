"""Slow and ambiguous clients."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.attack_kinds.outcome import Outcome
from benchmarks.attack_kinds.served_model import Ordinary, tiny_server
from benchmarks.loopback import HOST, Served
from tltool.serving.settings import Limits, Settings

SLOW, UNREAD, MANY = "slow senders", "clients that do not read", "many slow connections"
AMBIGUOUS = "ambiguous requests"
IDLE = Settings().idle_seconds
GRACE = 6.0  # seconds, of a busy machine
READ = ("/v1/classify", "/v1/models/model:predict", "/v2/models/model/infer", "/v1/explain")
UNREAD_BODY = ("/healthz", "/readyz", "/metrics", "/", "/v1/models", "/openapi.json", "/nowhere")
HEAD = "{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
NEXT = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def attacks(folder: Path) -> Iterator[Outcome]:
    """Open the connections of all kinds."""
    with tiny_server(folder) as server, Ordinary(server) as ordinary:
        for name, request in ambiguous().items():
            yield answered_once(name, request, server.port)
        ordinary.reset()
        yield many(server.port, ordinary)
        ordinary.reset()
        yield from asyncio.run(slow(server))
        yield Outcome(SLOW, "ordinary requests meanwhile", ordinary.held, ordinary.figure)


def ambiguous() -> dict[str, bytes]:
    """Return requests whose end two programs may see at different places."""
    post = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
    lengths = {
        "length, then chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "chunked, then length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "length 0 and chunked": "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "length and Chunked": "Content-Length: 5\r\nTransfer-Encoding: Chunked\r\n",
        "length and identity": "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n",
        "two lengths in one": "Content-Length: 5, 6\r\n",
        "length with a sign": "Content-Length: +5\r\n",
        "negative length": "Content-Length: -5\r\n",
        "hexadecimal length": "Content-Length: 0x5\r\n",
        "length with a space in it": "Content-Length: 5 5\r\n",
        "length without a number": "Content-Length: \r\n",
        "unknown coding": "Transfer-Encoding: xchunked\r\n",
        "chunked, then gzip": "Transfer-Encoding: chunked, gzip\r\n",
        "chunked twice": "Transfer-Encoding: chunked, chunked\r\n",
        "space before the colon": "Transfer-Encoding : chunked\r\n",
        "NUL in a name": "Transfer\0-Encoding: chunked\r\n",
        "NUL in a value": "X-A: \0\r\nContent-Length: 0\r\n",
        "line feed in a value": "X-A: b\rContent-Length: 5\r\n",
        "two hosts": "Host: evil.example\r\n",
    }  # fmt: skip
    requests = {
        name: f"{post}{lines}\r\n".encode() + b"0\r\n\r\n" for name, lines in lengths.items()
    }
    chunked = f"{post}Transfer-Encoding: chunked\r\n\r\n".encode()
    bodies = {
        "negative chunk": b"-1\r\n",
        "chunk of a word": b"five\r\n",
        "chunk of 2^64": b"f" * 17 + b"\r\n",
        "chunk with a long name": b"1;" + b"a" * 70_000 + b"\r\nx\r\n",
        "chunk without an end": b"1\r\nxx\r\n",
    }
    requests |= {name: chunked + body for name, body in bodies.items()}
    requests["no header at all"] = b"\r\n\r\n"
    requests["header of 200 KB"] = f"{post}X-A: {'a' * 200_000}\r\n\r\n".encode()
    requests["10,000 headers"] = (
        f"{post}{'X-A: b' + chr(13) + chr(10)}".encode() + b"X: y\r\n" * 10_000
    )
    requests["target of 200 KB"] = f"GET /{'a' * 200_000} HTTP/1.1\r\n\r\n".encode()
    requests["HTTP/0.9"] = b"GET /healthz\r\n"
    requests["TLS handshake"] = b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(32)
    return requests


def answered_once(name: str, request: bytes, port: int) -> Outcome:
    """Send a request and another one behind it; the second must not be answered with the model."""
    received = b""
    with socket.create_connection((HOST, port)) as connection, suppress(OSError):
        connection.settimeout(3)
        connection.sendall(request + NEXT)
        while data := connection.recv(2**16):
            received += data
    statuses = [part[:3].decode() for part in received.split(b"HTTP/1.1 ")[1:]]
    held = len(statuses) <= 1 and "200" not in statuses
    return Outcome(AMBIGUOUS, name, held, f"answers: {', '.join(statuses) or 'none'}")


def many(port: int, ordinary: Ordinary) -> Outcome:
    """Open 1,200 connections that send one byte every few seconds; others must get in."""
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n"

    async def one(number: int) -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(head if number % 2 else head[:20])
            for _ in range(4):
                await asyncio.sleep(5)
                writer.write(b"x")
                await writer.drain()
            writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(1200)))

    asyncio.run(all_of_them())
    return Outcome(MANY, "1,200 at one byte in 5 s", ordinary.held, ordinary.figure)


async def slow(server: Served) -> list[Outcome]:
    """Run all slow clients at the same time, and wait until the last one is closed."""
    limits, port = Limits(), server.port
    body = limits.body_seconds + limits.discard_seconds
    tries = []
    for pause in (1.0, 4.0, 60.0):
        for first in ("", "GET /healthz", HEAD.format(method="GET", path="/healthz")):
            name = f"header, {len(first)} bytes at once, then one in {pause:g} s"
            tries.append(_slow(port, name, first.encode(), pause, limits.header_seconds))
    for path in (*READ, *UNREAD_BODY):
        for kind, line in (
            ("length", "Content-Length: 9999"),
            ("chunks", "Transfer-Encoding: chunked"),
        ):
            method = "POST" if path in READ else "GET"
            head = f"{HEAD.format(method=method, path=path)}{line}\r\n\r\n"
            head += "fff\r\n" if kind == "chunks" else ""
            tries.append(_slow(port, f"body to {path}, {kind}", head.encode(), 4.0, body))
    for path in ("/openapi.json", "/page.js", "/metrics"):
        for times in (200, 2000):
            request = f"{HEAD.format(method='GET', path=path)}\r\n".encode() * times
            tries.append(_unread(server, f"{times} requests for {path}", request, IDLE))
    return list(await asyncio.gather(*tries))


async def _slow(port: int, name: str, first: bytes, pause: float, limit: float) -> Outcome:
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(HOST, port)
    ended = asyncio.create_task(_until_closed(reader))
    writer.write(first)
    with suppress(OSError):
        while not ended.done() and time.monotonic() - began < limit + 20:
            await asyncio.wait([ended], timeout=pause if pause < 30 else 1)
            if not ended.done() and pause < 30:
                writer.write(b"x")
    seconds = time.monotonic() - began
    held = ended.done() and seconds <= limit + GRACE
    ended.cancel()
    writer.transport.abort()
    return Outcome(SLOW, name, held, f"closed after {seconds:.0f} s, limit {limit:.0f} s")


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(2**16):
            pass


async def _unread(server: Served, name: str, request: bytes, limit: float) -> Outcome:
    """Send requests and read nothing; the server must close the connection.

    Responses that fit into the buffers of the kernel leave an idle connection.
    """
    began = time.monotonic()
    process = psutil.Process(server.process.pid)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (HOST, server.port))
    number = connection.getsockname()[1]
    sending = asyncio.create_task(loop.sock_sendall(connection, request))
    is_open = True
    while is_open and time.monotonic() - began < limit + 2 * GRACE:
        await asyncio.sleep(1)
        peers = await asyncio.to_thread(process.net_connections, "tcp4")
        is_open = any(one.raddr and one.raddr.port == number for one in peers)
    seconds = time.monotonic() - began
    sending.cancel()
    connection.close()
    held = not is_open and seconds <= limit + 2 * GRACE
    return Outcome(UNREAD, name, held, f"closed after {seconds:.0f} s, limit {limit:.0f} s")
