"""Train a recipe with every combination of some settings and several seeds, and compare."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy import stats

from tltool.data.sources.open import read_source
from tltool.errors import UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import load_recipe
from tltool.recipe.overrides import Override
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.training.devices import Device
from tltool.workflows.finetune import finetune
from tltool.workflows.list_runs import show_run
from tltool.workflows.preflight.recipe import check_recipe
from tltool.workflows.resume import resume
from tltool.workflows.training_run.context import recipe_digest
from tltool.workflows.training_run.run_group import begin

CONFIDENCE = 0.95


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

    def measures(self, monitor: str) -> dict[int, float]:
        """Return the monitored measure by seed."""
        return self.accuracies if monitor == "val_accuracy" else self.losses


@dataclass(frozen=True)
class Sweep:
    """All combinations, the better first.

    Attributes:
        combinations: with at least one run, sorted by the mean of the monitored measure.
        monitor: the measure that decides: val_loss or val_accuracy.
        winner: the best combination, None when the difference to the second is within its interval.
        difference: mean of the first less the second, over the seeds of both; None with one.
        low: lower end of its 95 % interval.
        high: upper end.
        left_out: runs for which the budget did not suffice.
    """

    combinations: tuple[Combination, ...]
    monitor: str
    winner: Combination | None
    difference: float | None
    low: float | None
    high: float | None
    left_out: int


def sweep(
    recipe: str,
    photos: str,
    *,
    grid: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    settings: Sequence[str | Override] = (),
    budget: float | None = None,
    test: str | None = None,
    out: Path,
    weights: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    observer: Observer | None = None,
) -> Sweep:
    """Train every combination with every seed. Runs share features and probes; nothing is exported.

    All combinations get a seed before the next seed begins. What ``out`` already holds of the same
    sweep is taken up: finished runs are read, interrupted ones resumed.

    Args:
        recipe: name or file of the recipe.
        images: the images.
        grid: values by key of the recipe.
        seeds: seeds of the runs.
        settings: further settings of all runs.
        budget: seconds; no run is begun that would probably end after them.
        test: a separate test folder; it never decides.
        out: folder of the runs.
        weights: a file of pretrained weights.
        offline: open no network connection.
        device: auto, cpu or gpu.
        observer: told about everything on the way.

    Raises:
        UsageError: a key or value that the recipe does not have, or ``out`` holds something else,
            such as a sweep over other images.
    """
    observer = observer or SilentObserver()
    combinations = [
        Combination(dict(zip(grid, values, strict=True)))
        for values in itertools.product(*grid.values())
    ]
    plan = [
        (seed, one, _recipe(recipe, one.settings, seed, settings))
        for seed in seeds
        for one in combinations
    ]
    for _, _, one_recipe in plan:
        check_recipe(one_recipe, weights)
    data = plan[0][2].data
    listing = read_source(
        photos,
        test=test,
        ood_images=data.ood_images,
        pixels=data.pixels,
        offline=offline,
        observer=observer,
    )
    begin(out, listing, photos=photos, test=test, weights=weights, observer=observer)
    clock = _Clock(budget)
    for done, (seed, one, resolved) in enumerate(plan):
        if not clock.suffices():
            break
        observer.on_message(f"run {done + 1} of {len(plan)}: {_told(one.settings)}, seed {seed}")
        folder = out / f"{combinations.index(one) + 1:03d}-seed{seed}"
        metrics = metrics_of(
            folder,
            resolved,
            photos,
            observer=observer,
            test=test,
            weights=weights,
            offline=offline,
            device=device,
            caches=out / "cache",
        )
        one.accuracies[seed] = metrics["validation"]["val_accuracy"]
        one.losses[seed] = metrics["validation"]["val_loss"]
        one.runs[seed] = folder
        clock.ended()
    trained = sum(len(one.runs) for one in combinations)
    monitor = plan[0][2].train.early_stopping.monitor
    return _judge(combinations, monitor, left_out=len(plan) - trained)


class _Clock:
    """Knows whether another run fits into the budget, from the time that runs took."""

    def __init__(self, budget: float | None) -> None:
        self._budget, self._started = budget, time.monotonic()
        self._last, self._spent = self._started, list[float]()

    def suffices(self) -> bool:
        if self._budget is None or not self._spent:
            return True
        passed = time.monotonic() - self._started
        return passed + statistics.median(self._spent) <= self._budget

    def ended(self) -> None:
        now = time.monotonic()
        self._spent.append(now - self._last)
        self._last = now


def _recipe(
    reference: str, grid: Mapping[str, Any], seed: int, settings: Sequence[str | Override]
) -> Recipe:
    own = {**grid, "seed": seed, "export.enabled": False}
    return load_recipe(
        reference, [*settings, *(Override(k, v, f"the sweep's {k}={v}") for k, v in own.items())]
    )


def metrics_of(
    folder: Path, recipe: Recipe, photos: str, *, observer: Observer, **how: Any
) -> Mapping[str, Any]:
    """Return the metrics of one run: read, resumed, or trained."""
    manifest = RunLayout(folder).manifest
    if not manifest.is_file():
        return finetune(photos, recipe=recipe, out=folder, observer=observer, **how).metrics
    if read_manifest(manifest)["recipe_digest"] != recipe_digest(recipe):
        raise UsageError(
            f"'{folder}' is a run with other settings", hint="give another folder with --out"
        )
    known = show_run(folder)
    if known["status"] == "finished":
        return dict(known["metrics"])
    caches, offline = how["caches"], how["offline"]
    return resume(folder, offline=offline, observer=observer, caches=caches).metrics


def _judge(combinations: Sequence[Combination], monitor: str, *, left_out: int) -> Sweep:
    sign = -1 if monitor == "val_accuracy" else 1
    ranked = sorted(
        (one for one in combinations if one.runs),
        key=lambda one: sign * statistics.fmean(one.measures(monitor).values()),
    )
    winner, difference, low, high = None, None, None, None
    if len(ranked) > 1:
        first, second = (one.measures(monitor) for one in ranked[:2])
        pairs = [first[seed] - second[seed] for seed in first if seed in second]
        difference, low, high = paired_interval(pairs)
        if low is not None and high is not None and (high < 0 if sign > 0 else low > 0):
            winner = ranked[0]
    return Sweep(tuple(ranked), monitor, winner, difference, low, high, left_out)


def paired_interval(
    pairs: Sequence[float],
) -> tuple[float | None, float | None, float | None]:
    """Return mean and 95 % interval of paired differences (Student's t); None for what is unknown.

    One pair has no interval, since it says nothing of the spread.
    """
    if not pairs:
        return None, None, None
    mean = statistics.fmean(pairs)
    if len(pairs) < 2:
        return mean, None, None
    error = statistics.stdev(pairs) / math.sqrt(len(pairs))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1)) * error
    return mean, mean - half, mean + half


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items()) or "the recipe as it is"
