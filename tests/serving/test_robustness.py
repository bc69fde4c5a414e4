"""A small version of benchmarks/serving_robustness.py, and the file system under a server."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path

import pytest

from benchmarks.loopback import served
from benchmarks.serving_robustness import Storm, Truth, damaged, stopped_under_load
from tests.export.tiny_classifier import encoded
from tests.serving.conftest import LIMITS

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
