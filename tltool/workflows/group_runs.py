"""The runs of a group, such as a sweep: one after the other here, or at once in workers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tltool.engine.work import Engine, Piece, Record, Work
from tltool.errors import EnvironmentProblem, UsageError, counted
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import RecipeFile
from tltool.recipe.schema import DataSection
from tltool.runs.environment import compute_threads
from tltool.runs.layout import RunLayout
from tltool.runs.lock import has_locks
from tltool.runs.run_options import RunOptions
from tltool.training.devices import count_gpus
from tltool.workflows.finetune import start_run
from tltool.workflows.list_runs import show_run
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.resume import resume
from tltool.workflows.seen_files import enter_working_folder
from tltool.workflows.training_run.context import recipe_digest
from tltool.workflows.training_run.lifecycle import absolute
from tltool.workflows.training_run.run_group import check_same_group
from tltool.workflows.workers import open_workers, workers_of

WORK = "run"


@dataclass(frozen=True)
class GroupRun:
    """One run of a group.

    Attributes:
        title: for messages.
        folder: of the run.
        spec: what it does.
    """

    title: str
    folder: Path
    spec: RunSpec


class Clock:
    """Knows whether another run fits into a budget of time, from the time that runs took.

    Args:
        budget: seconds; None for no limit.
    """

    def __init__(self, budget: float | None = None) -> None:
        self._budget, self._started = budget, time.monotonic()
        self._spent = list[float]()

    def suffices(self) -> bool:
        """Return whether a run that is started now probably ends in time."""
        if self._budget is None or not self._spent:
            return True
        passed = time.monotonic() - self._started
        return passed + statistics.median(self._spent) <= self._budget

    def ended(self, seconds: float) -> None:
        """Take the time of a run."""
        self._spent.append(seconds)


def metrics_of_group(
    runs: Sequence[GroupRun],
    options: RunOptions,
    *,
    feature_cache: Path,
    clock: Clock | None = None,
    observer: Observer,
) -> list[Mapping[str, Any]]:
    """Do all runs, or read those that are finished, and return the metrics of each.

    With ``workers`` or ``cluster`` in the options several runs are trained at once, each as in a
    process of its own; what it finds does not depend on it.

    Args:
        runs: in their order.
        options: what each run is called with; ``out`` and ``feature_cache`` are set for each.
        feature_cache: the folder of the features that the runs share.
        clock: when to start no further run; None for never.
        observer: receives everything that is reported.

    Returns:
        metrics of the first runs; of fewer than ``runs`` where the clock did not suffice.

    Raises:
        UsageError: a folder holds a run with other settings.
    """
    clock = clock or Clock()
    where, gpu = workers_of(options), options.device != "cpu" and count_gpus() > 0
    options = replace(options, workers=None, cluster=None, feature_cache=feature_cache)
    with open_workers(where, gpu=gpu, observer=observer) as engine:
        if engine is None:
            return list(_in_turn(runs, options, clock, observer))
        if not has_locks(runs[0].folder.parent):  # two runs could write the same features
            options = replace(options, feature_cache=None)
        on_cluster = where is not None and where.address is not None
        work = _work(runs, options, on_cluster=on_cluster)
        done = _by_workers(engine, work, [run.title for run in runs], clock, observer)
    return [_metrics_of_finished(run) for run in runs[:done]]


def _in_turn(
    runs: Sequence[GroupRun], options: RunOptions, clock: Clock, observer: Observer
) -> Iterator[Mapping[str, Any]]:
    for number, run in enumerate(runs, start=1):
        if not clock.suffices():
            return
        started = time.monotonic()
        observer.on_message(f"run {number} of {len(runs)}: {run.title}")
        yield _metrics_of(run, options, observer)
        clock.ended(time.monotonic() - started)


def _metrics_of(run: GroupRun, options: RunOptions, observer: Observer) -> Mapping[str, Any]:
    """Return the metrics of a run: read, resumed, or trained.

    Raises:
        UsageError: its folder holds a run with other settings.
    """
    folder = run.folder
    if not RunLayout(folder).recipe.is_file():  # nothing was begun that could be resumed
        return start_run(run.spec, replace(options, out=folder), observer=observer).metrics
    known = show_run(folder)
    if known.manifest.recipe_digest != recipe_digest(run.spec.recipe):
        raise UsageError(
            f"'{folder}' is a run with other settings", hint="give another folder with --out"
        )
    if known.status == "finished":
        return dict(known.metrics or {})
    offline, cache = options.offline, options.feature_cache
    return resume(folder, offline=offline, observer=observer, feature_cache=cache).metrics


def _metrics_of_finished(run: GroupRun) -> Mapping[str, Any]:
    """Return the metrics of a run that a worker has finished.

    Raises:
        EnvironmentProblem: this machine does not see it.
    """
    layout = RunLayout(run.folder)
    known = show_run(run.folder) if layout.manifest.is_file() else None
    if known is None or known.status != "finished":
        raise EnvironmentProblem(
            f"a worker finished the run '{run.folder}', but this machine does not see it",
            hint="put --out on a disk that all machines of the cluster share",
        )
    return dict(known.metrics or {})


def _by_workers(
    engine: Engine, work: Work, titles: Sequence[str], clock: Clock, observer: Observer
) -> int:
    """Let workers do runs, and return how many of them are finished: the first ones.

    Raises:
        TltoolError: a run failed.
    """
    count = len(titles)
    observer.on_phase("runs", f"{count} by {counted(engine.workers, 'worker', 'workers')}")
    done, warned = 0, set[str]()
    for number, record in engine.map(work, _startable(count, clock)):
        done += 1
        clock.ended(record["seconds"])
        for text in record["warnings"]:
            if text not in warned:
                warned.add(text)
                observer.on_message(f"{titles[number]}: {text}", level="warning")
        observer.on_message(f"finished: {titles[number]}")
        observer.on_progress(done, count, unit="runs")
    return done


def _startable(count: int, clock: Clock) -> Iterator[int]:
    for number in range(count):
        if not clock.suffices():
            return
        yield number


def _work(runs: Sequence[GroupRun], options: RunOptions, *, on_cluster: bool) -> Work:
    """Return the work whose pieces are ``runs``."""
    cache = options.feature_cache
    data = runs[0].spec.recipe.data  # the images of the group were listed with it
    arguments = {
        "options": absolute(options).to_json(),
        "offline": options.offline,
        "feature_cache": str(cache.absolute()) if cache else None,
        "working_folder": str(Path.cwd()),
        "data": data.model_dump(mode="json") if on_cluster else None,
    }

    def described(number: int) -> dict[str, Any]:
        run = runs[number]
        recipe = run.spec.recipe
        return {
            "title": run.title,
            "folder": str(run.folder.absolute()),
            "recipe": recipe.model_dump(mode="json"),
            "set_by_user": recipe.model_dump(mode="json", exclude_unset=True),
        }

    return Work(
        WORK, arguments, title="run", inputs=described, threads=compute_threads(), long=True
    )


def begin_run(arguments: Mapping[str, Any]) -> Piece:
    """Return the function of a worker that does one run.

    Args:
        arguments: of the work.
    """
    cache = arguments["feature_cache"]
    options = replace(
        RunOptions.from_json(arguments["options"]),
        offline=arguments["offline"],
        feature_cache=Path(cache) if cache else None,
    )
    enter_working_folder(arguments["working_folder"])  # a recipe may name files by relative paths
    unchecked = arguments["data"]  # None where every worker sees the files of the command

    def piece(_: int, described: dict[str, Any]) -> Record:
        nonlocal unchecked
        started, observer = time.monotonic(), _Warnings()
        title, folder = described["title"], Path(described["folder"])
        recipe = RecipeFile(title, described["recipe"], described["set_by_user"]).recipe()
        if unchecked is not None:
            check_same_group(folder.parent, DataSection.model_validate(unchecked), options)
            unchecked = None
        _metrics_of(GroupRun(title, folder, resolve(recipe)), options, observer)
        return {"seconds": time.monotonic() - started, "warnings": observer.warnings}

    return piece


class _Warnings(SilentObserver):
    """Keeps the warnings of a run, which its worker cannot show."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        if level == "warning":
            self.warnings.append(text)
