"""The engine that runs pieces of work in workers of a Ray cluster.

Nothing of a run is kept in Ray: pieces commit their results as files, and only numbers and small
records pass through it. A worker that dies is replaced, and its pieces are done again.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from tltool.engine.cluster_address import ClusterAddress, check_address
from tltool.engine.piece_problems import failed, lost
from tltool.engine.ray_connection import connected
from tltool.engine.signature import signature, thread_flags
from tltool.engine.work import PieceError, Record, Work, raise_error
from tltool.engine.worker import do_piece
from tltool.errors import EnvironmentProblem, TltoolError
from tltool.runs.environment import cores
from tltool.runs.temporary import names_full_disk

_RETRIES = 3
_IN_FLIGHT = 2  # short pieces per worker: the next one waits at the worker
_LEAST_SECONDS, _FIRST_SECONDS, _SLOWER = 60.0, 600.0, 4.0
_POLL_SECONDS = 1.0
_SHORT = 8  # characters of the identifier of a node
_WAITING_SECONDS = 60.0  # without any record, until that is reported


def _ignore(_: str) -> None:
    """Report nothing."""


@dataclass
class RayEngine:
    """Runs pieces in Ray tasks; made by ``open_ray``.

    Attributes:
        table: module with the table of works.
        workers: how many pieces run at once.
        nodes: number of machines.
        threads: threads that a worker computes with.
        gpus: GPUs per worker.
        node_cpus: CPUs of each machine, if a piece has several where its work names the threads;
            empty if every piece has one.
        machines: the machines that have CPUs for workers: name by the ``node`` of records.
        warn: takes a warning for the user.
    """

    table: str
    workers: int
    nodes: int
    threads: int
    gpus: float = 0.0
    node_cpus: tuple[int, ...] = ()
    machines: Mapping[str, str] = field(default_factory=dict)
    warn: Callable[[str], None] = _ignore
    _expected: Mapping[str, str] = field(default_factory=signature)
    _thread_flags: Mapping[str, str] = field(default_factory=thread_flags)

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each piece as it ends, each number once.

        A piece that is silent for longer than four times the usual is handed out once more; the
        first one that ends counts.

        Raises:
            TltoolError: a piece raised it, or its worker died several times.
        """
        flight = _Flight(self, work, iter(numbers))
        try:
            yield from flight.records()
        finally:
            flight.cancel()

    def facts(self) -> dict[str, Any]:
        """Return what manifest.json says about the engine."""
        return {
            "engine": "ray",
            "nodes": self.nodes,
            "workers": self.workers,
            "arithmetic": self._expected["instructions"],
        }


def _do_piece(*arguments: Any) -> Record:
    """Return the record of a piece, with the node that did it; runs in a worker."""
    import ray

    return {**do_piece(*arguments), "node": ray.get_runtime_context().get_node_id()}


class _Flight:
    """The pieces of one ``map`` that are handed out."""

    def __init__(self, engine: RayEngine, work: Work, numbers: Iterator[int]) -> None:
        import ray

        self._engine, self._work = engine, work
        self._waiting: Iterator[int] | None = numbers  # None when all are handed out
        self._open = set[int]()  # handed out, without a record
        self._in_order = deque[int]()  # handed out; begins with the first one without a record
        self._start_time = time.monotonic()
        self._taken = _no_cpu_is_free()  # by other commands
        self._started: dict[Any, tuple[int, float]] = {}  # by reference: number, time
        self._again = set[int]()  # numbers that were handed out twice
        self._seconds = list[float]()
        # as many as every machine has, so that none is left out
        cpus = min(work.threads or 1, min(engine.node_cpus, default=1))
        places = sum(one // cpus for one in engine.node_cpus) or engine.workers
        self._at_once = places * (1 if work.long else _IN_FLIGHT)
        options = {"num_cpus": cpus, "num_gpus": engine.gpus, "max_retries": _RETRIES}
        self._task = ray.remote(_do_piece).options(scheduling_strategy="SPREAD", **options)

    def records(self) -> Iterator[tuple[int, Record]]:
        import ray

        while not self._is_over():
            self._hand_out_next()
            if not self._open:
                return
            ready, _ = ray.wait(list(self._started), num_returns=1, timeout=_POLL_SECONDS)
            for reference in ready:
                number, started = self._started.pop(reference)
                record = self._record(reference, number)
                if record is not None and number in self._open:
                    self._open.discard(number)
                    self._seconds.append(time.monotonic() - started)
                    yield number, record
            self._repeat_silent()
            self._report_waiting()

    def _is_over(self) -> bool:
        seconds = self._work.seconds
        return seconds is not None and time.monotonic() - self._start_time > seconds

    def _hand_out_next(self) -> None:
        """Hand out the next pieces, as many as may be."""
        while self._waiting is not None and self._may_hand_out():
            number = next(self._waiting, None)
            if number is None:
                self._waiting = None
                return
            self._open.add(number)
            self._in_order.append(number)
            self._hand_out(number)

    def _may_hand_out(self) -> bool:
        if len(self._started) >= self._at_once:
            return False
        while self._in_order and self._in_order[0] not in self._open:
            self._in_order.popleft()
        ahead = self._work.ahead
        return ahead is None or len(self._in_order) < max(ahead, self._at_once)

    def _report_waiting(self) -> None:
        """Report once that the CPUs of the cluster were taken and no piece has ended yet."""
        silent = not self._seconds and time.monotonic() - self._start_time > _WAITING_SECONDS
        if self._taken and silent:
            self._taken = False
            if _no_cpu_is_free():
                self._engine.warn(
                    "waiting for free CPUs of the cluster: other commands use all of them; "
                    "`ray status` shows it"
                )

    def cancel(self) -> None:
        """Let go of what is still running: another one has its result, or nobody needs it."""
        import ray

        for reference in self._started:
            with suppress(Exception):
                ray.cancel(reference, force=True)

    def _hand_out(self, number: int) -> None:
        work, engine = self._work, self._engine
        reference = self._task.remote(
            engine.table, work.name, dict(work.arguments), number, work.input_of(number),
            dict(engine._expected), work.threads or engine.threads, dict(engine._thread_flags),
        )  # fmt: skip
        self._started[reference] = (number, time.monotonic())

    def _record(self, reference: Any, number: int) -> Record | None:
        """Return the record of a piece; None for the failure of a piece that has ended elsewhere.

        Raises:
            TltoolError: the piece raised it, or its worker died again and again.
            PieceError: a disk is full.
        """
        import ray

        try:
            record: Record = ray.get(reference)
            raise_error(record)
        except (ray.exceptions.RayError, PieceError, TltoolError) as error:
            if number not in self._open:
                return None
            if isinstance(error, TltoolError) or names_full_disk(error):
                raise
            if isinstance(error, PieceError):
                raise failed(self._work, number, error) from None
            raise lost(self._work, number, error, _RETRIES + 1) from None
        return record

    def _repeat_silent(self) -> None:
        if self._work.long:
            return
        usual = statistics.median(self._seconds) if self._seconds else None
        allowed = _FIRST_SECONDS if usual is None else max(_LEAST_SECONDS, _SLOWER * usual)
        now = time.monotonic()
        for number, started in list(self._started.values()):
            silent = now - started > allowed
            if silent and number in self._open and number not in self._again:
                self._again.add(number)
                self._hand_out(number)


def _no_cpu_is_free() -> bool:
    import ray

    return bool(ray.available_resources().get("CPU", 0) < 1)


@contextmanager
def open_ray(
    where: ClusterAddress, table: str, *, gpu: bool, warn: Callable[[str], None] = _ignore
) -> Iterator[RayEngine]:
    """Start Ray for the body, or join a running cluster; what was started is ended afterwards.

    Args:
        where: the workers.
        table: module with the table of works.
        gpu: whether each worker needs a GPU.
        warn: takes a warning for the user.

    Raises:
        UsageError, EnvironmentProblem: see ``check_address``; or no cluster answers.
    """
    check_address(where)
    with connected(where):
        yield replace(_engine(where, table, gpu=gpu), warn=warn)


def _engine(where: ClusterAddress, table: str, *, gpu: bool) -> RayEngine:
    import ray

    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    workers = min(cpus, gpus) if gpu else cpus
    if workers < 1:
        raise EnvironmentProblem(
            f"the cluster has {cpus} CPUs and {gpus} GPUs: no worker can start",
            hint="add machines to it, or use --device cpu" if gpu else "add machines to it",
        )
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    # a worker of a cluster has one CPU; the number of threads does not change the bits
    threads = 1 if where.workers is None else max(1, cores() // where.workers)
    node_cpus = tuple(filter(None, (int(node["Resources"]["CPU"]) for node in alive)))
    return RayEngine(
        table,
        workers,
        len(alive),
        threads,
        gpus=1.0 if gpu else 0.0,
        node_cpus=() if gpu or where.workers is not None else node_cpus,
        machines=_names(alive),
    )


def _names(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return a name for each node by its identifier: that of its host, if no other one has it."""
    hosts = Counter(str(node["NodeManagerHostname"]) for node in nodes)
    names = {}
    for node in nodes:
        identifier, host = str(node["NodeID"]), str(node["NodeManagerHostname"])
        names[identifier] = host if hosts[host] == 1 else f"{host} ({identifier[:_SHORT]})"
    return names
