"""The live display of a long command: phases, bars, epochs."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from tltool.cli.console import ACCENT, err, print_table

_PLAIN_INTERVAL = 15.0  # seconds between lines of progress where there is no terminal


class _Rate(ProgressColumn):
    """Units per second and the time left."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed or not task.total:
            return Text("")
        left = max(0.0, (task.total - task.completed) / speed)
        return Text(f"{speed:,.0f}/s, {_duration(left)} left", style="dim")


class Display:
    """Shows on stderr what a workflow reports; lines only, where stderr is no terminal.

    Use it as a context manager, so that the last phase is closed and the cursor comes back.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console: Console = err()
        self._quiet = quiet
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn(f"  [{ACCENT}]{{task.description}}"),
            BarColumn(bar_width=24, complete_style=ACCENT, finished_style=ACCENT),
            TextColumn("{task.fields[count]}"),
            _Rate(),
            console=self._console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._phase = ""
        self._detail = ""
        self._started = 0.0
        self._done = 0
        self._told = 0.0
        self._header_shown = False

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish(failed=kind is not None)
        self._progress.stop()

    def on_phase(self, name: str, detail: str = "") -> None:
        """Close the phase before and start this one."""
        self._finish()
        self._phase, self._detail = name, detail
        self._started = self._told = time.monotonic()
        self._done = 0
        self._header_shown = False
        if self._live:
            self._task = self._progress.add_task(f"{name:<10}", total=None, count="")

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Move the bar."""
        if unit != "steps":
            self._done = max(done, self._done)
        if self._task is not None:
            self._progress.update(
                self._task, completed=done, total=total, count=f"{done:,}/{total:,} {unit}"
            )
        elif not self._quiet and unit != "steps" and self._due():
            self._line(f"  {self._phase:<10} {done:,}/{total:,} {unit}")

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Print one line with the epoch's figures."""
        if self._quiet:
            return
        figures = [
            ("loss", metrics.get("loss"), ".4f"),
            ("acc", metrics.get("accuracy"), ".3f"),
            ("val loss", metrics.get("val_loss"), ".4f"),
            ("val acc", metrics.get("val_accuracy"), ".3f"),
        ]
        told = "  ".join(
            f"{name} {value:{form}}" for name, value, form in figures if value is not None
        )
        which = f"epoch {epoch:>2}/{epochs:<2}" if epochs else "baseline   "
        speed = metrics.get("images_per_second")
        rate = f"  {speed:,.0f} images/s" if speed else ""
        self._line(f"    {which} {told}{rate}", style="dim" if epochs else "")

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Print a sentence; warnings also with --quiet."""
        if level == "warning":
            self._console.print(Text.assemble(("warning: ", "bold yellow"), text))
        elif not self._quiet:
            self._line(f"  {text}")

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        if not self._quiet:
            print_table(self._console, f"\n{title}", columns, rows)
            self._line("")

    def _finish(self, *, failed: bool = False) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        if not self._phase or self._quiet:
            return
        seconds = time.monotonic() - self._started
        mark, style = ("×", "red") if failed else ("✓", ACCENT)
        line = Text.assemble((f"{mark} ", style), (f"{self._phase:<10}", "bold"))
        line.append(f"{_duration(seconds):>8}")
        if self._done and seconds > 0.5:
            line.append(f"  {self._done / seconds:>7,.1f} images/s", style="dim")
        if self._detail:
            line.append(f"  {self._detail}", style="dim")
        self._console.print(line)
        self._phase = ""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._told < _PLAIN_INTERVAL:
            return False
        self._told = now
        return True

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    )
