"""A server of a tiny model, and a client that measures how long ordinary requests wait."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.attack_kinds.hostile_images import photo
from benchmarks.loopback import HOST, Served, served

GIBIBYTE = 2**30
MAX_WAIT = 2.0  # seconds, of an ordinary request
MAX_MEMORY = 2 * GIBIBYTE


class Answer(NamedTuple):
    """A response; the status is 0 if there was none."""

    status: int
    body: bytes
    seconds: float


@contextmanager
def tiny_server(folder: Path, options: Sequence[str] = ()) -> Iterator[Served]:
    """Serve a tiny classifier that is exported to ``folder``, if it is not there yet."""
    if not (folder / "model").exists():
        from tests.export.tiny_classifier import export, tiny_model

        export(tiny_model(), folder / "model")
    with served(folder / "model", options) as server:
        for _ in range(3):  # the first request optimises the graph
            ask(server.port, "/v1/classify", photo())
        yield server


def ask(
    port: int,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str | None = None,
    seconds: float = 60.0,
) -> Answer:
    """Send one request on a new connection."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read(), time.perf_counter() - began)
    except OSError as error:
        return Answer(0, repr(error).encode(), time.perf_counter() - began)
    finally:
        connection.close()


class Ordinary:
    """Sends ordinary requests in the background, and measures the longest wait and the memory."""

    def __init__(self, server: Served) -> None:
        self._port, self._process = server.port, psutil.Process(server.process.pid)
        self.longest, self.failed, self.peak = 0.0, 0, 0
        self._stop = threading.Event()

    def __enter__(self) -> Ordinary:
        self._threads = [
            threading.Thread(target=self._send, daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def reset(self) -> None:
        """Start to measure again; the peak of the memory stays."""
        self.longest, self.failed = 0.0, 0

    @property
    def held(self) -> bool:
        """Whether no ordinary request failed or waited too long, and memory is bounded."""
        return not self.failed and self.longest <= MAX_WAIT and self.peak <= MAX_MEMORY

    @property
    def figure(self) -> str:
        """The measurements."""
        return f"ordinary wait {self.longest:.2f} s, peak {self.peak / 2**20:.0f} MiB"

    def _send(self) -> None:
        while not self._stop.wait(0.05):
            answer = ask(self._port, "/v1/classify", photo(), {"Content-Type": "image/png"})
            self.longest = max(self.longest, answer.seconds)
            self.failed += answer.status != 200

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            with suppress(psutil.Error):
                self.peak = max(self.peak, self._process.memory_info().rss)
