"""A small version of benchmarks/serving_robustness.py, and graceful shutdown."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from benchmarks.loopback import Connection, served
from benchmarks.serving_requests import Truth, damaged
from benchmarks.serving_robustness import LoadTest, Tally, stopped_under_load
from tests.export.tiny_classifier import encoded
from tests.serving.conftest import LIMITS
from tltool.serving.accepting import accept_pending
from tltool.serving.listener import listen

PHOTOS = [encoded(seed, kind=kind) for seed in range(6) for kind in ("JPEG", "PNG")]


@pytest.fixture(scope="module")
def truth(model) -> Truth:
    contents = [*PHOTOS, *damaged(PHOTOS)]
    outputs = [model([content]) for content in contents]
    expected = [(bool(one["ok"][0]), one["probabilities"][0]) for one in outputs]
    return dict(zip(contents, expected, strict=True))


def test_every_request_under_load_gets_the_right_response(live, truth):
    load = LoadTest(live.port, live.name, PHOTOS, truth=truth, body_bytes=LIMITS.body_bytes)
    tally = asyncio.run(load.run(requests=400, clients=16, sample=lambda: 0.0))
    assert not tally.wrong
    assert tally.outcomes.total() == 400
    for kind, outcome in [
        ("damaged", "200"),
        ("too large", "413"),
        ("hang up", "hung up"),
        ("trickle, head", "closed"),
        ("trickle, body", "408"),
    ]:
        assert tally.outcomes[kind, outcome]


@pytest.mark.thorough
def test_a_shutdown_under_load_loses_no_request(exported: Path, truth: Truth):
    """Neither those of clients that send all the time nor that of one that connected before."""
    with served(exported.parent) as server:
        load = LoadTest(server.port, server.name, PHOTOS, truth=truth, body_bytes=2**25)
        stop = partial(server.process.send_signal, signal.SIGTERM)

        async def late(connected: asyncio.Event, stopped: asyncio.Event) -> int:
            async with Connection(server.port) as connection:
                connected.set()
                await stopped.wait()
                await asyncio.sleep(1.2)  # the server has stopped listening meanwhile
                return (await connection.send(load.job("whole").request)).status

        async def both() -> tuple[Tally, int]:
            connected, stopped = asyncio.Event(), asyncio.Event()
            waiting = asyncio.create_task(late(connected, stopped))
            await connected.wait()

            def stop_now() -> None:
                stop()
                stopped.set()

            return await stopped_under_load(load, stop_now, clients=16), await waiting

        tally, status = asyncio.run(both())
        assert status == 200
        assert server.process.wait(30) == 0
    assert not tally.wrong
    assert tally.outcomes["stopping", "200"] > 64
    assert tally.outcomes["stopping", "not accepted"] == 16


def test_connections_that_were_not_accepted_yet_are_not_lost():
    listener = listen("127.0.0.1", 0)
    listener.start()
    (bound,) = listener.sockets
    bound.setblocking(False)
    address = bound.getsockname()
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(socket.create_connection(address, timeout=5)).sendall(b"hello")
        connections = accept_pending([bound])
        assert len(connections) == 3
        for connection in connections:
            clients.enter_context(connection).settimeout(5)
            assert connection.recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
