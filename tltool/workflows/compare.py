"""Compare finished runs on the images that all of them were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.evaluation.metrics.paired_tests import against_first
from tltool.events import Observer, SilentObserver
from tltool.workflows.comparison.candidates import (
    common_keys,
    cost_of,
    open_compared_runs,
)
from tltool.workflows.comparison.result import Comparison
from tltool.workflows.preflight.arguments import check_runs


def compare(runs: Sequence[Path | str], *, observer: Observer | None = None) -> Comparison:
    """Compare finished runs, or exports whose runs are found, on the same held-out images.

    Images are matched by content. Nothing is computed anew but how long one image takes.

    Args:
        runs: two or more; the first is what the others are compared with.
        observer: told about the progress.

    Raises:
        UsageError: fewer than two, one given twice, or one does not exist.
        DataError: one is no finished run, or they were measured on different images.
    """
    observer = observer or SilentObserver()
    check_runs(runs)
    observer.on_phase("runs", f"{len(runs)} runs")
    contenders = open_compared_runs([Path(run) for run in runs])
    keys = common_keys(contenders)
    correct = np.array([[one.answers[key].correct for key in keys] for one in contenders])
    observer.on_phase("compare", f"{len(keys)} images")
    paired = against_first(correct[0], list(correct[1:]))
    observer.on_phase("cost", "time of one image")
    costs = [cost_of(one) for one in contenders]
    return Comparison(tuple(contenders), tuple(keys), correct, tuple(paired), tuple(costs))
