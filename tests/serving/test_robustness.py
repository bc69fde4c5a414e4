"""A small version of benchmarks/serving_robustness.py, and the file system under a server."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from benchmarks.loopback import Connection, served
from benchmarks.serving_robustness import Storm, Truth, damaged, stopped_under_load
from tests.export.tiny_classifier import encoded
from tests.serving.conftest import LIMITS
from tltool.serving.server import listen, open_to_clients, waiting

PHOTOS = [encoded(seed, kind=kind) for seed in range(6) for kind in ("JPEG", "PNG")]


@pytest.fixture(scope="module")
def truth(model) -> Truth:
    contents = [*PHOTOS, *damaged(PHOTOS)]
    answers = [model([content]) for content in contents]
    found = [(bool(one["ok"][0]), one["probabilities"][0]) for one in answers]
    return dict(zip(contents, found, strict=True))


def test_every_request_of_a_storm_gets_what_it_should(live, truth):
    storm = Storm(live.port, live.name, PHOTOS, truth=truth, body_bytes=LIMITS.body_bytes)
    tally = asyncio.run(storm.run(requests=400, clients=16, sample=lambda: 0.0))
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


def test_a_stop_under_load_loses_no_request(exported: Path, truth: Truth):
    with served(exported.parent) as server:
        storm = Storm(server.port, server.name, PHOTOS, truth=truth, body_bytes=2**25)
        stop = partial(server.process.send_signal, signal.SIGTERM)
        tally = asyncio.run(stopped_under_load(storm, stop, clients=16))
        assert server.process.wait(30) == 0
    assert not tally.wrong
    assert tally.outcomes["stopping", "200"] > 64
    assert tally.outcomes["stopping", "not let in"] == 16


def test_a_client_let_in_last_may_take_its_time_to_ask(exported: Path, truth: Truth):
    with served(exported.parent) as server:
        job = Storm(server.port, server.name, PHOTOS, truth=truth, body_bytes=2**25).job("whole")

        async def late() -> int:
            async with Connection(server.port) as connection:
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(1.2)  # the door has been shut meanwhile
                return (await connection.ask(job.request)).status

        assert asyncio.run(late()) == 200
        assert server.process.wait(30) == 0


def test_clients_that_nobody_has_let_in_are_not_lost():
    door = listen("127.0.0.1", 0)
    open_to_clients(door)
    door.setblocking(False)
    address = door.getsockname()
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(socket.create_connection(address, timeout=5)).sendall(b"hello")
        visitors = waiting([door])
        assert len(visitors) == 3
        for visitor in visitors:
            clients.enter_context(visitor).settimeout(5)
            assert visitor.recv(5) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
