"""Check that all machines of a Ray cluster compute alike and see the same files."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.engine.work import Piece, Record, Work
from tltool.errors import EnvironmentProblem, counted, some_of
from tltool.events import Observer
from tltool.workflows.seen_files import check_present
from tltool.workflows.workers import checked_workers, open_workers

if TYPE_CHECKING:
    from tltool.engine.ray_engine import RayEngine

WORK = "check"
_PIECES = 2  # per worker, so that none is left out
_SECONDS = 300.0  # for all machines to answer
_PAUSE_SECONDS = 5.0  # before those that have not are asked again


def check_cluster(
    workers: int | None, cluster: str | None, *, folder: Path | None, observer: Observer
) -> dict[str, Any]:
    """Let the workers of a cluster compare themselves with this machine.

    Args:
        workers: number of workers to start here, if ``cluster`` is None.
        cluster: address of a running cluster.
        folder: that all machines must be able to read; None to leave that out.
        observer: receives the progress.

    Returns:
        what manifest.json of a run would record, ``answered``: the number of machines that did,
        and ``machines``: pieces done by name.

    Raises:
        UsageError: the address is none.
        EnvironmentProblem: the cluster or one of its machines does not answer, or a machine
            differs or cannot read.
    """
    where = checked_workers(workers, cluster)
    assert where is not None
    with ExitStack() as stack:
        probe = _probe(folder, stack) if folder else None
        engine = stack.enter_context(open_workers(where, gpu=False, observer=observer))
        assert engine is not None
        machines = _answers(engine, {"file": str(probe) if probe else None}, observer)
        known = engine.machines
        answered = {known.get(node, node): pieces for node, pieces in machines.items()}
        facts = {**engine.facts(), "answered": sum(node in machines for node in known)}
        return {**facts, "machines": dict(sorted(answered.items()))}


def _answers(engine: RayEngine, arguments: Mapping[str, Any], observer: Observer) -> Counter[str]:
    """Let the workers answer until every machine has done so; return pieces done by node.

    Raises:
        EnvironmentProblem: a machine does not answer.
    """
    count, ends = _PIECES * engine.workers, time.monotonic() + _SECONDS
    machines: Counter[str] = Counter()
    while True:
        left = max(ends - time.monotonic(), 0.0)
        work = Work(WORK, arguments, title="check", seconds=left)
        for done, (_, record) in enumerate(engine.map(work, range(count)), start=1):
            machines[record["node"]] += 1
            observer.on_progress(done, count, unit="checks")
        missing = [name for node, name in engine.machines.items() if node not in machines]
        if not missing:
            return machines
        if time.monotonic() + _PAUSE_SECONDS > ends:
            raise _no_answer(engine, missing)
        time.sleep(_PAUSE_SECONDS)


def _no_answer(engine: RayEngine, missing: list[str]) -> EnvironmentProblem:
    there = len(engine.machines)
    return EnvironmentProblem(
        f"{there - len(missing)} of {counted(there, 'machine', 'machines')} answered within "
        f"{_SECONDS:.0f} seconds, but not: {some_of(missing)}",
        hint="`ray status` shows whether other commands use its CPUs, or whether it is gone",
    )


def _probe(folder: Path, stack: ExitStack) -> Path:
    """Return a new hidden file in ``folder``, which is removed at the end."""
    path = folder.absolute() / f".{uuid.uuid4().hex}.new"
    try:
        path.write_text("tltool cluster check")
    except OSError as error:
        raise EnvironmentProblem(
            f"the folder '{folder}' cannot be written: {error.strerror}",
            hint="give the folder of the runs on the shared disk",
        ) from None
    stack.callback(path.unlink, missing_ok=True)
    return path


def begin_check(arguments: Mapping[str, Any]) -> Piece:
    """Return the function by which the machine of a worker answers.

    Args:
        arguments: ``file`` that it must be able to read, or None.
    """
    file = arguments["file"]

    def piece(number: int, _: None) -> Record:
        if file is not None:
            check_present(Path(file))
        return {}

    return piece
