"""The live display of a long command on stderr: phases, progress bars, epochs."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import Literal

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tltool.cli.terminal import interrupts
from tltool.cli.terminal.console import ACCENT, err, line, print_table, printable
from tltool.cli.terminal.native_logs import silence_native_logs
from tltool.runs.duration import readable_duration
from tltool.runs.keras_setup import check_keras, claim_keras, import_keras
from tltool.runs.phase_speed import PhaseSpeed

_REDRAW_SECONDS = 0.1
_FIRST_LINE_SECONDS = 10.0  # until the first progress line without a terminal
_LAST_LINE_SECONDS = 60.0  # longest time between two progress lines

_LONGEST = 1e4
_EPOCH_COLUMNS = (
    ("loss", "loss", ".4f", 10),
    ("accuracy", "accuracy", ".3f", 10),
    ("val loss", "val_loss", ".4f", 10),
    ("calibrated", "val_calibrated_loss", ".4f", 12),
    ("val accuracy", "val_accuracy", ".3f", 14),
    ("images/s", "images_per_second", ",.0f", 10),
)


def _figure(value: float, form: str) -> str:
    """Return a figure of an epoch; a diverged loss is shortened to fit its column."""
    return f"{value:.3g}" if form == ".4f" and abs(value) >= _LONGEST else f"{value:{form}}"


@contextmanager
def shown(*, quiet: bool, debug: bool, start: str = "TensorFlow") -> Iterator["Display"]:
    """Import Keras with TensorFlow, and yield the display of a command that uses them.

    Args:
        quiet: show nothing.
        debug: leave TensorFlow's log alone.
        start: name of the first phase, in which TensorFlow is imported; empty to import nothing.

    Raises:
        EnvironmentProblem: Keras cannot be imported.
    """
    claim_keras()
    check_keras()
    if not debug:
        silence_native_logs()
    # libraries that print must not mix with the results on stdout
    with redirect_stdout(sys.stderr), Display(quiet=quiet) as display:
        if start:
            display.on_phase("start", start)
            import_keras()
        yield display


class Display:
    """Shows on stderr what a workflow reports; plain lines where stderr is no terminal.

    Use it as a context manager, so that the last phase is closed and the cursor comes back.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = err()
        self._quiet = quiet
        live = sys.stderr.isatty() and self._console.is_interactive and not quiet
        self._progress = Progress(
            TextColumn(f"  [{ACCENT}]{{task.description:<12}}", table_column=None),
            BarColumn(bar_width=20, complete_style=ACCENT, finished_style=ACCENT),
            TextColumn("{task.fields[summary]}", style="default", markup=False),
            console=self._console,
            transient=True,
            refresh_per_second=5,
            disable=not live,
        )
        self._live = live
        self._task: TaskID | None = None
        self._phase = ""
        self._detail = ""
        self._speed_meter = PhaseSpeed(0.0)
        self._next_line = 0.0
        self._rows_shown = False
        self._utf8 = self._console.encoding.startswith("utf")

    def __enter__(self) -> "Display":
        self._progress.start()
        interrupts.announce_with(lambda text: line(self._console, (text, "yellow")))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        interrupts.announce_with(None)
        self._finish(failed=kind is not None)
        self._progress.stop()

    def on_phase(self, name: str, detail: str = "") -> None:
        """Close the phase before and start this one."""
        self._finish()
        self._phase, self._detail = name, printable(detail)
        self._speed_meter = PhaseSpeed(time.monotonic())
        self._next_line = 0.0 if self._live else self._speed_meter.started + _FIRST_LINE_SECONDS
        self._rows_shown = False
        if self._live:
            self._task = self._progress.add_task(name, total=None, summary=self._detail)

    def on_phase_end(self, *, failed: bool = False) -> None:
        """Close the phase."""
        self._finish(failed=failed)

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Move the progress bar, or print a line from time to time."""
        now = time.monotonic()
        self._speed_meter.count(done, total, unit, now)
        if self._quiet or not self._due(now):
            return
        summary = self._speed_meter.summary(now)
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, summary=summary)
        else:
            line(self._console, f"{self._phase}: {summary}", indent=2)

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Print one row with the epoch's figures."""
        self._speed_meter.epoch_ended(epoch, epochs, time.monotonic())
        if self._quiet:
            return
        cells = [
            (_figure(metrics[key], form) if key in metrics else "", width)
            for _, key, form, width in _EPOCH_COLUMNS
        ]
        row = "".join(f"{cell:>{width}}" for cell, width in cells)
        if not self._rows_shown:
            header = "".join(f"{name:>{width}}" for name, _, _, width in _EPOCH_COLUMNS)
            name = self._phase.replace("_", " ").replace("finetune", "fine")
            line(self._console, (f"{name:<9}", ACCENT), (header, "dim"), indent=2)
            self._rows_shown = True
        label = f"{epoch:>3}/{epochs}" if epochs else ""
        line(self._console, f"{label:<9}{row}".rstrip(), indent=2)

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Print a sentence."""
        if self._quiet:
            return
        if level == "warning":
            line(self._console, ("warning: ", "bold yellow"), printable(text))
        else:
            line(self._console, printable(text), indent=2)

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        if not self._quiet:
            line(self._console)
            print_table(self._console, columns, rows, title=title)
            line(self._console)

    def _finish(self, *, failed: bool = False) -> None:
        """Print one line about the phase that ends."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        if not self._phase or self._quiet:
            return
        now = time.monotonic()
        text = Text.assemble(
            (self._mark(failed), "red" if failed else ACCENT),
            (f" {self._phase:<12}", "bold"),
            f"{readable_duration(now - self._speed_meter.started):>11}",
            (f"{self._speed_meter.rate(now):>17}  {self._detail}".rstrip(), "dim"),
        )
        self._console.print(text, no_wrap=True, overflow="ellipsis")
        self._phase = ""

    def _mark(self, failed: bool) -> str:
        if self._utf8:
            return "×" if failed else "✓"
        return "x" if failed else "+"

    def _due(self, now: float) -> bool:
        if now < self._next_line:
            return False
        if self._live:
            self._next_line = now + _REDRAW_SECONDS
        else:
            waited = now - self._speed_meter.started
            self._next_line = now + min(max(waited, _FIRST_LINE_SECONDS), _LAST_LINE_SECONDS)
        return True
