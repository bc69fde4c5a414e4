"""An observer that passes metrics to trackers; a failing tracker does not stop the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from tltool.errors import Interrupted, UsageError, did_you_mean, first_line
from tltool.events import Observer
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.runs.offline import is_offline
from tltool.tracking.event_files import EventFiles
from tltool.tracking.mlflow_store import MlflowStore, check_mlflow
from tltool.tracking.wandb_store import WandbStore, check_wandb

Outcome = Literal["finished", "failed", "interrupted"]
TRACKERS = ("mlflow", "wandb")


class Tracker(Protocol):
    """Records the metrics of one run. It opens nothing before the first metric."""

    title: str

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch."""

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Record the final evaluation."""

    def model(self, export: Path) -> str | None:
        """Record the exported model of a finished run; return a sentence about it, if it did."""

    def close(self, outcome: Outcome) -> None:
        """End the record."""


def check_trackers(track: Sequence[str], *, offline: bool, register: str | None = None) -> None:
    """Check that the trackers can be used, without loading them or opening a connection.

    Args:
        track: names from ``TRACKERS``.
        offline: open no connection; ``TLTOOL_OFFLINE=1`` has the same effect.
        register: name of a registered model of MLflow; None for none.

    Raises:
        UsageError: there is no such tracker, it needs the network and ``offline`` is set, it finds
            no account, or ``register`` is given without mlflow.
        EnvironmentProblem: it is not installed.
    """
    for name in track:
        if name not in TRACKERS:
            raise UsageError(
                f"there is no tracker '{name}'.{did_you_mean(name, TRACKERS)}",
                hint=f"available: {', '.join(TRACKERS)}; TensorBoard is on by default",
            )
    offline = offline or is_offline()
    if register is not None and not register.strip():
        raise UsageError("--register is empty", hint="give the name of a model: --register ants")
    if "mlflow" in track:
        check_mlflow(offline=offline, register=register is not None)
    elif register is not None:
        raise UsageError(
            "--register names a model in MLflow's registry, but the run is not logged to MLflow",
            hint="add --track mlflow",
        )
    if "wandb" in track:
        check_wandb(offline=offline)


@contextmanager
def tracked(
    run: RunLayout,
    observer: Observer,
    *,
    tensorboard: bool,
    track: Sequence[str],
    register: str | None = None,
    offline: bool = False,
) -> Iterator[Observer]:
    """Yield an observer that passes all events to ``observer`` and records the metrics of ``run``.

    At the end of the run, also after an error, the metrics and plots in its folder are recorded.

    Args:
        run: the run; its recipe is read from its folder at the first epoch.
        observer: receives all events, and one warning per failing tracker.
        tensorboard: write event files into the run folder.
        track: names from ``TRACKERS``.
        register: name of the registered model of MLflow that gets the exported model.
        offline: open no connection.
    """
    trackers: list[Tracker] = [EventFiles(run)] if tensorboard else []
    if "mlflow" in track:
        trackers.append(MlflowStore(run, register=register))
    if "wandb" in track:
        trackers.append(WandbStore(run, offline=offline))
    tracking = TrackingObserver(run, trackers, observer)
    try:
        yield tracking
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        tracking.close("interrupted" if stopped else "failed")
        raise
    tracking.close("finished")


class TrackingObserver:
    """Passes epochs to trackers and all events to the next observer; drops failing trackers."""

    def __init__(self, run: RunLayout, trackers: Sequence[Tracker], observer: Observer) -> None:
        self._run, self._trackers, self._next = run, list(trackers), observer
        self._phase = ""

    def on_phase(self, name: str, detail: str = "") -> None:
        """Store the phase and pass on."""
        self._phase = name
        self._next.on_phase(name, detail)

    def on_phase_end(self, *, failed: bool = False) -> None:
        """Pass on."""
        self._next.on_phase_end(failed=failed)

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Pass on."""
        self._next.on_progress(done, total, unit=unit)

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Pass on and record."""
        self._next.on_epoch(epoch, epochs, metrics)
        self._each(lambda tracker: tracker.epoch(self._phase, epoch, metrics))

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Pass on."""
        self._next.on_message(text, level=level)

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Pass on."""
        self._next.on_table(title, columns, rows)

    def close(self, outcome: Outcome) -> None:
        """Record the final results, if there are any, and end."""
        if self._run.metrics.is_file():
            self._each(self._results)
        export = _export_of(self._run) if outcome == "finished" else None
        if export is not None:
            self._each(lambda tracker: self._model(tracker, export))
        self._each(lambda tracker: tracker.close(outcome))
        self._trackers.clear()

    def _model(self, tracker: Tracker, export: Path) -> None:
        """Record the model; without it the record of the run is still completed."""
        try:
            sentence = tracker.model(export)
        except Exception as error:
            message = (
                f"{tracker.title} has not taken the model; the run continues: {first_line(error)}"
            )
            self._next.on_message(message, level="warning")
            return
        if sentence is not None:
            self._next.on_message(sentence)

    def _results(self, tracker: Tracker) -> None:
        document = from_json(self._run.metrics.read_text(encoding="utf-8"))
        tracker.results(final_figures(document), sorted(self._run.plots.glob("*.png")))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        """Call every tracker; an error must not stop the training."""
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                why = first_line(error)
                self._next.on_message(
                    f"{tracker.title} failed and is disabled; the run continues: {why}",
                    level="warning",
                )


def _export_of(run: RunLayout) -> Path | None:
    """Return the folder of the exported SavedModel; None if the run exports nothing."""
    if not run.manifest.is_file():
        return None
    export = read_manifest(run.manifest).export
    return Path(export) if export else None


def final_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of metrics.json as ``final/NAME``, without tables and texts.

    ``accuracy: {value, low, high}`` becomes final/accuracy, final/accuracy_low and
    final/accuracy_high. There is only one slash, because MLflow's file store turns the part before
    a slash into a folder, and a metric cannot be a folder.
    """
    return {f"final/{name}": value for name, value in _numbers(metrics)}


def _numbers(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for key, value in document.items():
        name = above if key == "value" else f"{above}_{key}" if above else key
        if isinstance(value, Mapping):
            yield from _numbers(value, name)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)
