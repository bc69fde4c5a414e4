"""Run `tltool serve` as a process, and HTTP connections to it with control over every byte."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        port: on the loopback interface.
        name: of the model in URLs.
        process: of the server.
    """

    port: int
    name: str
    process: subprocess.Popen[str]


@contextmanager
def served(
    model: Path, options: Sequence[str] = (), *, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run `tltool serve` until the context ends; ``env`` adds to its environment."""
    program = "from tltool.cli.main import run; run()"
    command = [sys.executable, "-c", program, "serve", str(model), "--port", "0", *options]
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stderr:
            url = re.search(r"http://[^:]+:(\d+)/v1/models/(\S+):predict", line)
            if url:
                break
        else:
            raise SystemExit("the server did not start")
        try:
            yield Served(int(url[1]), url[2], process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return a complete request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True)
class Response:
    """A response of the server.

    Attributes:
        status: HTTP status code.
        body: of the response.
        last: whether the server will close the connection.
    """

    status: int
    body: bytes
    last: bool


class Connection:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Connection":
        self.reader, self.writer = await asyncio.open_connection(HOST, self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, request: bytes) -> Response:
        """Send a request and return the complete response.

        Raises:
            OSError, EOFError: the connection ended before the response did.
        """
        self.writer.write(request)
        return await self.response()

    async def response(self) -> Response:
        """Return the next response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        body = await self.reader.readexactly(length)
        return Response(int(head.split(b" ", 2)[1]), body, b"connection: close" in head)
