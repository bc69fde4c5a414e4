"""The workers of a command: started or joined before its work, and let go afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tltool.engine.cluster_address import ClusterAddress, check_address
from tltool.errors import UsageError
from tltool.events import Observer
from tltool.runs.run_options import RunOptions

if TYPE_CHECKING:
    from tltool.engine.ray_engine import RayEngine

TABLE = "tltool.workflows.at_work"


def workers_of(options: RunOptions) -> ClusterAddress | None:
    """Return where the workers of a run are; None if it has none. Ray is not imported.

    Raises:
        UsageError: ``workers`` and ``cluster`` contradict each other, or are none.
        EnvironmentProblem: Ray is not installed.
    """
    return checked_workers(options.workers, options.cluster)


def checked_workers(workers: int | None, cluster: str | None) -> ClusterAddress | None:
    """Return where the workers of a command are, as ``workers_of``."""
    if workers is None and cluster is None:
        return None
    if workers is not None and cluster is not None:
        raise UsageError(
            "--workers starts workers on this machine, and --cluster uses those of a cluster",
            hint="leave out one of them",
        )
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: expected at least 1")
    where = ClusterAddress(workers, cluster)
    check_address(where)
    return where


@contextmanager
def open_workers(
    where: ClusterAddress | None, *, gpu: bool, observer: Observer
) -> Iterator[RayEngine | None]:
    """Give the engine with the workers of a command; None if it has none.

    Args:
        where: as the user says it.
        gpu: whether this command computes on a GPU; then each worker needs one.
        observer: reports the number of workers.

    Raises:
        UsageError, EnvironmentProblem: the workers cannot be started or reached.
    """
    if where is None:
        yield None
        return
    from tltool.engine.ray_engine import open_ray  # imports Ray, which takes a second

    observer.on_phase("workers", where.address or f"{where.workers} on this machine")
    warn = partial(observer.on_message, level="warning")
    with open_ray(where, TABLE, gpu=gpu, warn=warn) as engine:
        observer.on_message(
            f"{engine.workers} worker{'s' * (engine.workers != 1)} on {engine.nodes} "
            f"machine{'s' * (engine.nodes != 1)}"
        )
        yield engine
