"""What workers of a cluster do: the table in which an engine looks names of work up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tltool.engine.work import Piece
from tltool.workflows import cluster, group_runs, predict_by_workers, scan_by_workers
from tltool.workflows.dataset import feature_shards

TABLE: Mapping[str, Callable[[Mapping[str, Any]], Piece]] = {
    feature_shards.WORK: feature_shards.begin_features,
    cluster.WORK: cluster.begin_check,
    predict_by_workers.WORK: predict_by_workers.begin_predict,
    group_runs.WORK: group_runs.begin_run,
    scan_by_workers.WORK: scan_by_workers.begin_scan,
}


def begin(name: str, arguments: Mapping[str, Any]) -> Piece:
    """Return the function that does the pieces of some work in this process.

    Args:
        name: of the work, a key of ``TABLE``.
        arguments: of the work, JSON-ready.
    """
    return TABLE[name](arguments)
