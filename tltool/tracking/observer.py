"""An observer that hands every epoch and the final results to trackers, and survives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from tltool.errors import Interrupted, UsageError, did_you_mean
from tltool.events import Observer
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.offline import is_offline
from tltool.tracking.event_files import EventFiles
from tltool.tracking.mlflow_store import MlflowStore, check_mlflow

Outcome = Literal["finished", "failed", "interrupted"]
TRACKERS = ("mlflow",)


class Tracker(Protocol):
    """Keeps the figures of one run. It opens nothing before it has something to keep."""

    title: str

    def epoch(self, phase: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Keep the figures of an epoch."""

    def results(self, figures: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Keep the final evaluation."""

    def close(self, outcome: Outcome) -> None:
        """The run is over."""


def check_trackers(track: Sequence[str], *, offline: bool) -> None:
    """Refuse trackers that could not be used; loads none of them and opens no connection.

    Args:
        track: names out of ``TRACKERS``.
        offline: open no connection; ``TLTOOL_OFFLINE=1`` says the same.

    Raises:
        UsageError: there is no such tracker, or it needs the network and ``offline`` forbids it.
        EnvironmentProblem: it is not installed.
    """
    for name in track:
        if name not in TRACKERS:
            raise UsageError(
                f"there is no tracker '{name}'.{did_you_mean(name, TRACKERS)}",
                hint=f"known: {', '.join(TRACKERS)}; TensorBoard is on without being asked for",
            )
        check_mlflow(offline=offline or is_offline())


@contextmanager
def tracked(
    run: RunLayout, observer: Observer, *, tensorboard: bool, track: Sequence[str]
) -> Iterator[Observer]:
    """Yield an observer that passes all on to ``observer`` and keeps the figures of ``run``.

    At the end, good or bad, it keeps what the run folder then has of metrics and plots.

    Args:
        run: the run; its recipe is read from its folder when the first epoch is kept.
        observer: hears everything, and once of each tracker that fails.
        tensorboard: write event files into the run folder.
        track: names out of ``TRACKERS``.
    """
    trackers: list[Tracker] = [EventFiles(run)] if tensorboard else []
    if "mlflow" in track:
        trackers.append(MlflowStore(run))
    tracking = TrackingObserver(run, trackers, observer)
    try:
        yield tracking
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, Interrupted))
        tracking.close("interrupted" if stopped else "failed")
        raise
    tracking.close("finished")


class TrackingObserver:
    """Hands epochs to trackers and passes all of it on; a tracker that fails is left out."""

    def __init__(self, run: RunLayout, trackers: Sequence[Tracker], observer: Observer) -> None:
        self._run, self._trackers, self._next = run, list(trackers), observer
        self._phase = ""

    def on_phase(self, name: str, detail: str = "") -> None:
        """Remember the phase and pass on."""
        self._phase = name
        self._next.on_phase(name, detail)

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Pass on."""
        self._next.on_progress(done, total, unit=unit)

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Pass on and keep."""
        self._next.on_epoch(epoch, epochs, metrics)
        self._each(lambda tracker: tracker.epoch(self._phase, epoch, metrics))

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Pass on."""
        self._next.on_message(text, level=level)

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Pass on."""
        self._next.on_table(title, columns, rows)

    def close(self, outcome: Outcome) -> None:
        """Keep the final results, if there are any, and end."""
        if self._run.metrics.is_file():
            self._each(self._results)
        self._each(lambda tracker: tracker.close(outcome))
        self._trackers.clear()

    def _results(self, tracker: Tracker) -> None:
        document = from_json(self._run.metrics.read_text(encoding="utf-8"))
        tracker.results(final_figures(document), sorted(self._run.plots.glob("*.png")))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker; one that fails must not take the training with it."""
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._next.on_message(
                    f"{tracker.title} hears no more of this run, which goes on: {reason}",
                    level="warning",
                )


def final_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of metrics.json as ``final/NAME``; tables and texts are left out.

    ``accuracy: {value, low, high}`` becomes final/accuracy, final/accuracy_low and
    final/accuracy_high: one slash, because MLflow's file store makes a folder of what stands
    before one, and a metric cannot be both.
    """
    return {f"final/{name}": value for name, value in _numbers(metrics)}


def _numbers(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for key, value in document.items():
        name = above if key == "value" else f"{above}_{key}" if above else key
        if isinstance(value, Mapping):
            yield from _numbers(value, name)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)
