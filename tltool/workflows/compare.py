"""Compare finished runs on the images that all of them were evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tltool.evaluation.metrics.paired_tests import compare_with_first
from tltool.evaluation.shared_test_set import find_shared_test_set
from tltool.events import Observer, SilentObserver
from tltool.workflows.comparison.compared_runs import (
    common_keys,
    image_groups,
    measure_cost,
    open_compared_runs,
)
from tltool.workflows.comparison.comparison import Comparison
from tltool.workflows.preflight.arguments import check_runs


def compare(runs: Sequence[Path | str], *, observer: Observer | None = None) -> Comparison:
    """Compare finished runs, or exports whose runs can be located, on the same images.

    Images are matched by content. The predictions and groups are those of each run's
    predictions.csv; only the latency of one image is measured.

    Args:
        runs: two or more; the others are compared with the first.
        observer: receives progress and messages.

    Raises:
        UsageError: there are fewer than two, one is repeated, or one does not exist.
        DataError: one is no finished run, or they were evaluated on different images.

    Examples:
        >>> comparison = tltool.compare(["runs/photos", "runs/other"])
        >>> print(comparison.verdicts[0])
        no difference between other and photos...
    """
    observer = observer or SilentObserver()
    check_runs(runs)
    observer.on_phase("runs", f"{len(runs)} runs")
    compared = open_compared_runs([Path(run) for run in runs])
    keys = common_keys(compared)
    correct = np.array([[run.predictions[key].correct for key in keys] for run in compared])
    observer.on_phase("compare", f"{len(keys)} images")
    groups = image_groups(compared, keys)
    paired = compare_with_first(correct[0], list(correct[1:]), groups=groups)
    observer.on_phase("cost", "latency of one image")
    costs = [measure_cost(run) for run in compared]
    found = [find_shared_test_set(run.run.folder) for run in compared]
    test_sets = tuple({one.summary: one for one in found if one and one.summary}.values())
    cost = tuple(costs)
    return Comparison(tuple(compared), tuple(keys), correct, groups, tuple(paired), cost, test_sets)
