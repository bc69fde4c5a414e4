"""The engine that runs pieces of work in workers of a Ray cluster. Only this module imports Ray.

Nothing of a run is kept in Ray: pieces commit their results as files, and only numbers and small
records pass through it. A worker that dies is replaced, and its pieces are done again.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tltool.engine.cluster_address import ANSWER_SECONDS, ClusterAddress, check_address, no_answer
from tltool.engine.signature import signature
from tltool.engine.work import Record, Work, raise_error
from tltool.engine.worker import do_piece
from tltool.errors import EnvironmentProblem, TltoolError, first_line
from tltool.runs.environment import cores

_STORE_BYTES = 100 * 2**20  # records are small
_RETRIES = 3
_IN_FLIGHT = 2  # pieces per worker: the next one waits at the worker
_LEAST_SECONDS, _FIRST_SECONDS, _SLOWER = 60.0, 600.0, 4.0
_POLL_SECONDS = 1.0
_STARTS = 3  # Ray gives its processes 15 seconds, too few on a busy machine


@dataclass
class RayEngine:
    """Runs pieces in Ray tasks; made by ``open_ray``.

    Attributes:
        table: module with the table of works.
        workers: how many pieces run at once.
        nodes: number of machines.
        threads: threads that a worker computes with.
        gpus: GPUs per worker.
    """

    table: str
    workers: int
    nodes: int
    threads: int
    gpus: float = 0.0
    _expected: Mapping[str, str] = field(default_factory=signature)

    def map(self, work: Work, numbers: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """Yield (number, record) of each piece as it ends, each number once.

        A piece that is silent for longer than four times the usual is handed out once more; the
        first one that ends counts.

        Raises:
            TltoolError: a piece raised it, or its worker died several times.
        """
        flight = _Flight(self, work, deque(numbers))
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


class _Flight:
    """The pieces of one ``map`` that are handed out."""

    def __init__(self, engine: RayEngine, work: Work, waiting: deque[int]) -> None:
        import ray

        self._engine, self._work, self._waiting = engine, work, waiting
        self._open = set(waiting)  # numbers without a record
        self._started: dict[Any, tuple[int, float]] = {}  # by reference: number, time
        self._again = set[int]()  # numbers that were handed out twice
        self._seconds = list[float]()
        options = {"num_cpus": 1, "num_gpus": engine.gpus, "max_retries": _RETRIES}
        self._task = ray.remote(do_piece).options(scheduling_strategy="SPREAD", **options)

    def records(self) -> Iterator[tuple[int, Record]]:
        import ray

        while self._open:
            while self._waiting and len(self._started) < _IN_FLIGHT * self._engine.workers:
                self._hand_out(self._waiting.popleft())
            ready, _ = ray.wait(list(self._started), num_returns=1, timeout=_POLL_SECONDS)
            for reference in ready:
                number, started = self._started.pop(reference)
                record = self._record(reference, number)
                if record is not None and number in self._open:
                    self._open.discard(number)
                    self._seconds.append(time.monotonic() - started)
                    yield number, record
            self._repeat_silent()

    def cancel(self) -> None:
        """Let go of what is still running: another one has its result, or nobody needs it."""
        import ray

        for reference in self._started:
            with suppress(Exception):
                ray.cancel(reference, force=True)

    def _hand_out(self, number: int) -> None:
        work, engine = self._work, self._engine
        reference = self._task.remote(
            engine.table, work.name, dict(work.arguments), number, dict(engine._expected),
            engine.threads,
        )  # fmt: skip
        self._started[reference] = (number, time.monotonic())

    def _record(self, reference: Any, number: int) -> Record | None:
        """Return the record of a piece; None for the failure of a piece that has ended elsewhere.

        Raises:
            TltoolError: the piece raised it, or its worker died again and again.
        """
        import ray

        try:
            record: Record = ray.get(reference)
            raise_error(record)
        except ray.exceptions.RayError as error:
            if number not in self._open:
                return None
            raise _lost(self._work, number, error) from None
        except TltoolError:
            if number not in self._open:
                return None
            raise
        return record

    def _repeat_silent(self) -> None:
        usual = statistics.median(self._seconds) if self._seconds else None
        allowed = _FIRST_SECONDS if usual is None else max(_LEAST_SECONDS, _SLOWER * usual)
        now = time.monotonic()
        for number, started in list(self._started.values()):
            silent = now - started > allowed
            if silent and number in self._open and number not in self._again:
                self._again.add(number)
                self._hand_out(number)


def _lost(work: Work, number: int, error: Exception) -> EnvironmentProblem:
    memory = "memory" in type(error).__name__.lower()
    reason = "its memory was full" if memory else "the system or another process ended it"
    return EnvironmentProblem(
        f"the worker of {work.title} {number} died {_RETRIES + 1} times: {reason}",
        hint="fewer workers on a machine need less memory; `dmesg` and the logs of Ray name the "
        "cause",
    )


@contextmanager
def open_ray(where: ClusterAddress, table: str, *, gpu: bool) -> Iterator[RayEngine]:
    """Start Ray for the body, or join a running cluster; what was started is ended afterwards.

    Args:
        where: the workers.
        table: module with the table of works.
        gpu: whether each worker needs a GPU.

    Raises:
        UsageError, EnvironmentProblem: see ``check_address``; or no cluster answers.
    """
    check_address(where)
    import ray

    if ray.is_initialized():
        raise EnvironmentProblem(
            "this process is connected to Ray already", hint="call ray.shutdown() before"
        )
    handlers = _handlers()
    folder = None
    try:
        if where.address is None:
            folder = tempfile.mkdtemp(prefix="tl", dir=_short_folder())
            _start(where.workers or 1, folder)
        else:
            _join(where.address)
        _restore(handlers)
        yield _engine(where, table, gpu=gpu)
    finally:
        ray.shutdown()
        _restore(handlers)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _start(workers: int, folder: str) -> None:
    """Start Ray on this machine.

    Raises:
        EnvironmentProblem: it does not start.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init(
                address="local",
                num_cpus=workers,
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
            return
        except Exception as error:  # Ray has no type for it
            ray.shutdown()
            if attempt == _STARTS:
                raise EnvironmentProblem(
                    f"the workers cannot be started: Ray says '{first_line(error)}'",
                    hint="a machine that is very busy is too slow for it: try again later, or "
                    "leave out --workers",
                ) from error


def _join(address: str) -> None:
    """Connect to a running cluster.

    Raises:
        EnvironmentProblem: none answers.
    """
    import ray

    result = list[BaseException]()

    def connect() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            result.append(error)

    # Ray repeats for minutes what does not answer
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if thread.is_alive() or result:
        reason = first_line(result[0]) if result else f"nothing in {ANSWER_SECONDS:.0f} s"
        raise no_answer(address, reason)


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
    return RayEngine(table, workers, len(alive), threads, gpus=1.0 if gpu else 0.0)


def _short_folder() -> str | None:
    """Return a folder with a short name: the path of a socket in it has at most 107 bytes."""
    return "/tmp" if sys.platform != "win32" and os.access("/tmp", os.W_OK) else None


def _handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _restore(handlers: dict[int, Any]) -> None:
    """Undo what Ray does to the reactions to signals."""
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
