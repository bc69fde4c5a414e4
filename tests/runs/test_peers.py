"""TF_CONFIG: what is read from it, and workers that wait for each other."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.conftest import merged
from tltool.errors import EnvironmentProblem, TltoolError, UsageError
from tltool.recipe.load import load_recipe
from tltool.runs.peers import Peers, check_single_process, read_peers
from tltool.runs.rendezvous import meet
from tltool.runs.run_options import RunOptions
from tltool.workflows.preflight.peers import check_peers
from tltool.workflows.resolve.run_spec import resolve

TWO = ["one:4000", "[::1]:4001"]


def config(workers: Any = TWO, index: Any = 1, **more: Any) -> str:
    document = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    return json.dumps({**document, **more})


@pytest.fixture
def addresses() -> list[str]:
    """Two addresses of this machine with free ports."""
    with socket.socket() as one, socket.socket() as other:
        for port in (one, other):
            port.bind(("localhost", 0))
        return [f"localhost:{port.getsockname()[1]}" for port in (one, other)]


@pytest.mark.parametrize("index", [1, "1"])
def test_several_workers_are_read(monkeypatch, index):
    monkeypatch.setenv("TF_CONFIG", config(index=index))
    assert read_peers() == Peers(tuple(TWO), 1)
    with pytest.raises(UsageError, match="a sweep works in one process, but TF_CONFIG names 2"):
        check_single_process("a sweep")


@pytest.mark.parametrize(("kind", "index", "rank"), [("chief", 0, 0), ("worker", 1, 2)])
def test_a_chief_is_the_first_worker(monkeypatch, kind, index, rank):
    cluster = {"chief": ["head:4000"], "worker": TWO}
    monkeypatch.setenv("TF_CONFIG", config(cluster=cluster, task={"type": kind, "index": index}))
    assert read_peers() == Peers(("head:4000", *TWO), rank)


@pytest.mark.parametrize("text", ["", " ", "{}", config(["one:4000"], 0), '{"cluster": {}}'])
def test_a_single_process_needs_no_others(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert read_peers() is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "no JSON object"),
        (config(cluster={"worker": TWO, "ps": ["c:1"]}), "the keys worker and chief"),
        (config(["one", "two:4000"]), "a list of HOST:PORT"),
        (config(["one:4000", "one:4000"]), "names an address twice"),
        (config(index=2), "a number below 2"),
        (config(index=-1), "a number below 2"),
        (config(task={"type": "chief", "index": 0}), "task.type must be worker"),
        (config(cluster={"chief": TWO, "worker": ["c:1"]}), "at most one chief"),
        (config(cluster={"chief": ["c:1"], "worker": TWO}, index=2), "a number below 2"),
    ],
)
def test_a_malformed_configuration_is_refused(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=reason):
        read_peers()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("train.cache=on", "train.cache=on works in one process"),
        ("train.refit=on", "train.refit=on works in one process"),
        ("train.accumulate=4", "train.accumulate works in one process"),
        ("augment.feature_mixup.alpha=0.4", "augment.feature_mixup"),
        ("train.batch_size=8", "--workers uses workers of Ray"),
    ],
)
def test_what_only_one_process_can_do_is_refused(monkeypatch, setting, named):
    monkeypatch.setenv("TF_CONFIG", config())
    options = RunOptions("photos", workers=2 if "Ray" in named else None)
    with pytest.raises(UsageError, match=named):
        check_peers(resolve(load_recipe("vgg16", merged(setting))), options)


def outcome(call: Callable[[], bytes]) -> bytes | TltoolError:
    try:
        return call()
    except TltoolError as error:
        return error


def both(addresses: list[str], *same: dict[str, str]) -> list[bytes | TltoolError]:
    calls = [
        lambda rank=rank, one=one: meet(Peers(tuple(addresses), rank), one, b"files" * 10**5)
        for rank, one in enumerate(same)
    ]
    with ThreadPoolExecutor() as threads:
        return list(threads.map(outcome, calls))


def test_all_workers_get_what_the_first_one_sends(addresses):
    assert both(addresses, {"the recipe": "a"}, {"the recipe": "a"}) == [b"files" * 10**5] * 2


def test_workers_that_would_do_different_things_are_refused(addresses):
    for error in both(addresses, {"the recipe": "a"}, {"the recipe": "b"}):
        assert isinstance(error, UsageError)
        assert error.message.endswith("differ in the recipe: a and b")
        assert all(address in error.message for address in addresses)


def test_a_worker_that_ends_before_it_has_the_files_is_named(addresses):
    places = [("localhost", int(address.rpartition(":")[2])) for address in addresses]
    greeting = json.dumps([1, {}]).encode()

    def end_early() -> None:
        while True:
            with suppress(ConnectionRefusedError), socket.create_connection(places[0]) as one:
                one.sendall(len(greeting).to_bytes(8, "big") + greeting)
                server.accept()[0].close()
                return

    with socket.create_server(places[1]) as server, ThreadPoolExecutor() as threads:
        threads.submit(end_early)
        with pytest.raises(EnvironmentProblem, match=f"{addresses[1]} of TF_CONFIG ended"):
            meet(Peers(tuple(addresses), 0), {}, bytes(2**26))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_does_not_come_is_named(monkeypatch, addresses, rank):
    monkeypatch.setenv("TLTOOL_WORKER_TIMEOUT", "0.3")
    with pytest.raises(EnvironmentProblem, match=f"{addresses[1 - rank]} of TF_CONFIG does not"):
        meet(Peers(tuple(addresses), rank), {})


def test_a_port_that_is_in_use_is_named(addresses):
    with socket.socket() as other:
        other.bind(("", int(addresses[0].rpartition(":")[2])))
        other.listen()
        with pytest.raises(
            EnvironmentProblem, match=f"{addresses[0]} in TF_CONFIG, cannot be used"
        ):
            meet(Peers(tuple(addresses), 0), {})
