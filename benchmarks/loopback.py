"""`tltool serve` as a process, and HTTP connections to it that count every byte."""

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
    """A server that runs.

    Attributes:
        port: on the loopback interface.
        name: of the model in addresses.
        process: that serves.
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
    whole = {**os.environ, **(env or {})}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=whole) as process:
        for line in process.stderr:
            found = re.search(r"http://[^:]+:(\d+)/v1/models/(\S+):predict", line)
            if found:
                break
        else:
            raise SystemExit("the server did not start")
        try:
            yield Served(int(found[1]), found[2], process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return a whole request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        body: the rest.
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

    async def ask(self, request: bytes) -> Answer:
        """Send a whole request and return the whole answer.

        Raises:
            OSError, EOFError: the connection ended before the answer did.
        """
        self.writer.write(request)
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        body = await self.reader.readexactly(length)
        return Answer(int(head.split(b" ", 2)[1]), body, b"connection: close" in head)
