"""Engines: every piece once, errors as sentences, and addresses that are checked at once."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engine.ray_stub import RayError, RayStub, WorkerCrashedError
from tltool.engine import cluster_address, ray_engine, signature
from tltool.engine.cluster_address import ClusterAddress, check_address
from tltool.engine.ray_engine import RayEngine
from tltool.engine.work import PieceError, Work, error_record, raise_error
from tltool.engine.worker import do_piece
from tltool.errors import DataError, EnvironmentProblem, GateError, RunGateError, UsageError
from tltool.runs.environment import flags
from tltool.runs.install_hint import install_hint
from tltool.runs.temporary import names_full_disk

Use = Callable[[Callable[[int, int], Any]], tuple[RayEngine, RayStub]]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    def with_pieces(run: Callable[[int, int], Any]) -> tuple[RayEngine, RayStub]:
        stub = RayStub(run)
        monkeypatch.setitem(sys.modules, "ray", stub)
        return RayEngine("a.table", workers=2, nodes=1, threads=1), stub

    return with_pieces


def test_every_piece_gives_one_record_and_few_are_handed_out_at_once(use: Use) -> None:
    engine, stub = use(lambda number, _: {"square": number**2})
    records = dict(engine.map(Work("squares"), range(10)))
    assert records == {number: {"square": number**2} for number in range(10)}
    assert sorted(stub.handed_out) == list(range(10))
    assert stub.most_open == 4


def test_a_silent_piece_is_handed_out_once_more(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(ray_engine, "_SLOWER", 0.0)
    engine, stub = use(lambda number, before: {} if before or number != 3 else None)
    assert sorted(number for number, _ in engine.map(Work("some"), range(6))) == list(range(6))
    assert stub.handed_out.count(3) == 2


def test_a_piece_that_fails_after_another_worker_did_it_is_no_error(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(ray_engine, "_SLOWER", 0.0)
    late = list[int]()

    def run(number: int, before: int) -> dict[str, Any] | None:
        if (number, before) == (3, 0) and 3 in done:
            late.append(number)
            return error_record(ZeroDivisionError("too late"))
        return None if (number, before) == (3, 0) or (number == 5 and len(late) < 2) else {}

    engine, _ = use(run)
    done = list[int]()
    for number, _ in engine.map(Work("some"), range(6)):
        done.append(number)
    assert sorted(done) == list(range(6)) and len(late) >= 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            WorkerCrashedError("gone"),
            r"the worker of shard 2 died 4 times: the system .* \('gone'\)",
        ),
        (RayError("no tltool"), "no worker can do shard 2: Ray says 'RayError: no tltool'"),
        (ValueError("odd"), "shard 2 failed in a worker: ValueError: odd"),
        (MemoryError(), "the memory of a worker is full: shard 2"),
    ],
)
def test_a_piece_that_no_worker_can_do_is_an_error_that_names_it(
    use: Use, error: Exception, message: str
) -> None:
    def run(number: int, before: int) -> dict[str, Any]:
        if number != 2:
            return {}
        if isinstance(error, RayError):
            raise error
        return error_record(error)

    engine, _ = use(run)
    with pytest.raises(EnvironmentProblem, match=message):
        list(engine.map(Work("some", title="shard"), range(4)))


def test_pieces_wait_for_an_earlier_one_whose_record_is_missing(use: Use) -> None:
    asked = list[int]()

    def run(number: int, before: int) -> dict[str, Any] | None:
        asked.append(number)
        return {} if number or asked.count(0) > 20 else None

    engine, stub = use(run)
    for number, _ in engine.map(Work("some", ahead=6), range(20)):
        if number == 0:
            assert max(stub.handed_out) == 5
            break
    assert sorted(stub.handed_out) == list(range(6))


def test_long_pieces_wait_for_a_free_worker_and_are_handed_out_once(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(ray_engine, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(ray_engine, "_SLOWER", 0.0)
    asked, taken = list[int](), list[int]()

    def run(number: int, before: int) -> dict[str, Any] | None:
        asked.append(number)
        return {} if number or asked.count(0) > 20 else None

    def numbers() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    engine, stub = use(run)
    work = Work("runs", threads=4, long=True)
    for done, _ in enumerate(engine.map(work, numbers())):
        assert len(taken) <= done + 2
    assert sorted(stub.handed_out) == taken == list(range(6))
    assert stub.most_open == 2


@pytest.mark.parametrize(
    ("machines", "threads", "cpus", "places"),
    [((16, 8, 8), 16, 8, 4), ((12, 12), 8, 8, 2), ((0.5, 4), 2, 2, 2)],
)
def test_long_pieces_find_a_place_on_every_machine(
    use: Use, monkeypatch: pytest.MonkeyPatch, machines: Any, threads: int, cpus: int, places: int
) -> None:
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    _, stub = use(lambda *_: {})
    stub.cpus_of_nodes = machines
    with ray_engine.open_ray(ClusterAddress(address="auto"), "a.table", gpu=False) as engine:
        assert len(list(engine.map(Work("runs", threads=threads, long=True), range(9)))) == 9
    assert stub.task_options["num_cpus"] == cpus and stub.most_open == places
    assert stub.arguments[6] == threads  # their number may change the result


@pytest.mark.parametrize("own", [None, "3"])
def test_a_worker_records_the_threads_of_the_command(
    use: Use, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does in the worker; undone afterwards
    before = {"OMP_NUM_THREADS": own} if own else {}
    with monkeypatch.context() as of_command:
        of_command.delenv("OMP_NUM_THREADS")
        for name, value in before.items():
            of_command.setenv(name, value)
        engine, stub = use(lambda *_: {})
        list(engine.map(Work("some"), range(1)))
    table, name, arguments, number, piece_input, _, *threads = stub.arguments
    assert flags()["OMP_NUM_THREADS"] == "1"
    other_machine = {"numpy": "1.0"}  # ends the piece before it changes this process
    record = do_piece(table, name, arguments, number, piece_input, other_machine, *threads)
    assert "would compute other numbers" in record["error"]["message"]
    assert flags().get("OMP_NUM_THREADS") == own


def test_a_cluster_without_free_cpus_is_reported_once(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_WAITING_SECONDS", 0.0)
    asked = list[int]()

    def run(number: int, before: int) -> dict[str, Any] | None:
        asked.append(number)
        return {} if len(asked) > 30 else None

    engine, stub = use(run)
    stub.free, warnings = 0, list[str]()
    engine.warn = warnings.append
    assert len(list(engine.map(Work("some"), range(3)))) == 3
    assert len(warnings) == 1 and "waiting for free CPUs of the cluster" in warnings[0]
    assert list(engine.map(Work("some", seconds=0.0), range(3))) == []


@pytest.mark.parametrize("kind", [UsageError, DataError, EnvironmentProblem])
def test_an_error_of_a_worker_is_the_same_error_here(use: Use, kind: type[DataError]) -> None:
    engine, _ = use(lambda *_: error_record(kind("a.jpg is gone", hint="restore it")))
    with pytest.raises(kind, match=r"a\.jpg is gone") as problem:
        list(engine.map(Work("some"), range(4)))
    assert problem.value.hint == "restore it"


def test_other_errors_keep_their_text_and_number(tmp_path: Any) -> None:
    record = error_record(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(PieceError, match="No space left") as problem:
        raise_error(record)
    assert names_full_disk(problem.value)
    with pytest.raises(PieceError, match="ZeroDivisionError: by zero"):
        raise_error(error_record(ZeroDivisionError("by zero")))
    gate = error_record(RunGateError("too bad", run=tmp_path))
    with pytest.raises(GateError, match="too bad"):
        raise_error(gate)
    raise_error({"rows": 3})


def test_a_machine_that_computes_otherwise_is_refused() -> None:
    here = signature.signature()
    signature.check_signature(here)
    with pytest.raises(EnvironmentProblem, match=rf"its numpy is {here['numpy']}, .* is 1\.0"):
        signature.check_signature({**here, "numpy": "1.0"})
    with pytest.raises(EnvironmentProblem, match="its ONEDNN_MAX_CPU_ISA is not set"):
        signature.check_signature({**here, "ONEDNN_MAX_CPU_ISA": "AVX2"})


@pytest.mark.parametrize(
    ("address", "named"),
    [("ray://head:10001", "ray job submit"), ("head", "HOST:PORT"), ("head:0", "HOST:PORT"),
     ("head:x", "HOST:PORT"), (":6379", "HOST:PORT"), ("", "HOST:PORT")],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str, named: str) -> None:
    with pytest.raises(UsageError) as problem:
        check_address(ClusterAddress(address=address))
    assert named in f"{problem.value} {problem.value.hint}"


def test_what_this_machine_cannot_do_is_told_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: None)
    for where in (ClusterAddress(workers=2), ClusterAddress(address="auto")):
        with pytest.raises(EnvironmentProblem, match="needs Ray") as problem:
            check_address(where)
        assert problem.value.hint == install_hint("cluster")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match="Windows"):
        check_address(ClusterAddress(address="auto"))


def test_an_address_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    with pytest.raises(EnvironmentProblem, match=r"--cluster 127\.0\.0\.1:1: no Ray cluster"):
        check_address(ClusterAddress(address="127.0.0.1:1"))


def test_a_cluster_that_refuses_the_token_is_told(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:  # as Ray 2.60 does
        cause = RuntimeError("Last connection error: ray.exceptions.AuthenticationError: missing")
        raise ConnectionError("Failed to connect to Ray cluster") from cause

    monkeypatch.setattr(cluster_address, "find_spec", lambda _: True)
    _, stub = use(lambda *_: {})
    monkeypatch.setattr(stub, "init", refuse)
    with pytest.raises(EnvironmentProblem, match="its token is missing or wrong") as problem:
        ray_engine.open_ray(ClusterAddress(address="auto"), "a.table", gpu=False).__enter__()
    assert "RAY_AUTH_TOKEN" in str(problem.value.hint)
