"""Train a recipe with every combination of some settings and several seeds, and compare."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tltool.evaluation.metrics.seed_comparison import MeanDifference
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import RecipeFile
from tltool.recipe.overrides import Override
from tltool.recipe.schema import Recipe
from tltool.runs.peers import check_single_process
from tltool.runs.run_options import RunOptions
from tltool.workflows.comparison.seed_runs import compare_settings, read_seed_run
from tltool.workflows.group_runs import Clock, GroupRun, metrics_of_group
from tltool.workflows.preflight.recipe import check_spec
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.training_run.run_group import list_group, open_run_group


@dataclass
class Combination:
    """One setting of the grid and what its runs reached on the validation part.

    Attributes:
        settings: values by key.
        accuracies: by seed.
        losses: log-losses by seed, nats.
        runs: run folders by seed.
    """

    settings: Mapping[str, Any]
    accuracies: dict[int, float] = field(default_factory=dict)
    losses: dict[int, float] = field(default_factory=dict)
    runs: dict[int, Path] = field(default_factory=dict)

    def add(self, seed: int, run: Path, metrics: Mapping[str, Any]) -> None:
        """Add what the run of a seed reached."""
        self.accuracies[seed] = metrics["validation"]["val_accuracy"]
        self.losses[seed] = metrics["validation"]["val_loss"]
        self.runs[seed] = run

    def measures(self, monitor: str) -> dict[int, float]:
        """Return the monitored measure by seed."""
        return self.accuracies if monitor == "val_accuracy" else self.losses


@dataclass(frozen=True)
class Sweep:
    """All combinations, the better first.

    Attributes:
        combinations: with at least one run, sorted by the mean of the monitored measure.
        monitor: the measure that decides: val_loss or val_accuracy.
        winner: the best combination if it is distinguishable from every other one, else None.
        rival: the combination that is the hardest to distinguish from the best; None with one.
        difference: mean of the best less the rival over the seeds of both, with its 95 % interval.
        left_out: runs for which the budget did not suffice.
    """

    combinations: tuple[Combination, ...]
    monitor: str
    winner: Combination | None
    rival: Combination | None
    difference: MeanDifference
    left_out: int


def sweep(
    recipe: RecipeFile,
    options: RunOptions,
    *,
    out: Path,
    grid: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    settings: Sequence[str | Override] = (),
    budget: float | None = None,
    observer: Observer | None = None,
) -> Sweep:
    """Train every combination with every seed. Runs share features and probes; nothing is exported.

    All combinations get a seed before the next seed begins. What ``out`` already holds of the same
    sweep is taken up: finished runs are read, interrupted ones resumed.

    Args:
        recipe: what to do, before ``settings`` and the grid.
        options: what each run is called with; ``out`` and ``feature_cache`` are set for each. A
            separate test source never decides. Its workers train several runs at once.
        out: folder of the runs.
        grid: values by key of the recipe.
        seeds: seeds of the runs.
        settings: further settings of all runs.
        budget: seconds; no run is started that would probably end later.
        observer: receives everything that is reported.

    Raises:
        UsageError: a key of the grid that the recipe does not have, or ``out`` holds something
            else, such as a sweep over other images.
    """
    observer = observer or SilentObserver()
    check_single_process("a sweep")
    combinations = [
        Combination(dict(zip(grid, values, strict=True)))
        for values in itertools.product(*grid.values())
    ]
    plan = _plan(recipe, combinations, seeds, settings)
    for one in plan:
        check_spec(one.spec, options.weights)
    first = plan[0].spec.recipe
    listing = list_group(first.data, options, observer)
    runs = [GroupRun(one.summary, out / one.folder, one.spec) for one in plan]
    with open_run_group(out, listing, options, observer):
        metrics = metrics_of_group(
            runs, options, feature_cache=out / "cache", clock=Clock(budget), observer=observer
        )
    for one, run, reached in zip(plan, runs, metrics, strict=False):
        one.combination.add(one.seed, run.folder, reached)
    trained = sum(len(one.runs) for one in combinations)
    accuracy = first.train.early_stopping.monitor == "val_accuracy"
    monitor = "val_accuracy" if accuracy else "val_loss"
    return _judge(combinations, monitor, left_out=len(plan) - trained)


@dataclass(frozen=True)
class _PlannedRun:
    """One run of a sweep: a combination with a seed, the name of its folder, and what it does."""

    combination: Combination
    seed: int
    folder: str
    spec: RunSpec

    @property
    def summary(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.combination.settings.items())
        return f"{settings or 'the recipe as it is'}, seed {self.seed}"


def _plan(
    recipe: RecipeFile,
    combinations: Sequence[Combination],
    seeds: Sequence[int],
    settings: Sequence[str | Override],
) -> list[_PlannedRun]:
    """Return all runs: each combination with the first seed, then each with the next."""
    return [
        _PlannedRun(
            combination,
            seed,
            f"{number:03d}-seed{seed}",
            resolve(_recipe(recipe, combination.settings, seed, settings)),
        )
        for seed in seeds
        for number, combination in enumerate(combinations, start=1)
    ]


def _recipe(
    recipe: RecipeFile, grid: Mapping[str, Any], seed: int, settings: Sequence[str | Override]
) -> Recipe:
    own = {**grid, "seed": seed, "export.enabled": False}
    return recipe.recipe(
        [*settings, *(Override(k, v, f"the sweep's {k}={v}") for k, v in own.items())]
    )


def _judge(combinations: Sequence[Combination], monitor: str, *, left_out: int) -> Sweep:
    """Return the ranking, and a winner that is distinguishable from every other combination."""
    sign = 1 if monitor == "val_accuracy" else -1
    ranked = sorted(
        (one for one in combinations if one.runs),
        key=lambda one: -sign * statistics.fmean(one.measures(monitor).values()),
    )
    found = tuple(ranked)
    if len(ranked) < 2:
        return Sweep(found, monitor, None, None, MeanDifference(None), left_out)
    runs = [
        {seed: read_seed_run(run, one.measures(monitor)[seed]) for seed, run in one.runs.items()}
        for one in ranked
    ]
    differences = [compare_settings(runs[0], other, metric=monitor) for other in runs[1:]]
    position = min(range(len(differences)), key=lambda place: _clearance(differences[place], sign))
    closest = differences[position]
    winner = ranked[0] if _clearance(closest, sign) > 0 else None
    return Sweep(found, monitor, winner, ranked[position + 1], closest, left_out)


def _clearance(difference: MeanDifference, sign: int) -> float:
    """Return how far the interval is from zero on the side of the first; -inf if it is unknown."""
    if difference.low is None or difference.high is None:
        return -math.inf
    return difference.low if sign > 0 else -difference.high
