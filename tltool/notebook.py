"""The live display of the Python API in a notebook: phases, epochs, time left, warnings as text."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, ParamSpec, TypeVar

from tltool.runs.duration import readable_duration
from tltool.runs.phase_speed import PhaseSpeed

P = ParamSpec("P")
R = TypeVar("R")
_REDRAW_SECONDS = 0.2
_MOST_LINES = 200
_MOST_EPOCHS = 20  # the last ones; all are in history.csv
_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")
_CELL = "style='text-align:right;padding:0 1em 0 0'"


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def with_display(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function or method that shows its progress if it is called in a notebook.

    A function without a parameter ``observer`` is returned as it is; an observer of the caller's
    own is used instead.
    """
    if "observer" not in inspect.signature(function).parameters:
        return function

    @functools.wraps(function)
    def shown(*args: P.args, **options: P.kwargs) -> R:
        if options.get("observer") is not None or not in_notebook():
            return function(*args, **options)
        with NotebookDisplay() as display, without_native_logs():
            options["observer"] = display
            return function(*args, **options)

    return shown


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Show in a notebook that something is being loaded, and how long it took."""
    if not in_notebook():
        yield
        return
    with NotebookDisplay() as display, without_native_logs():
        display.on_phase("start", what)
        yield


@contextmanager
def without_native_logs() -> Iterator[None]:
    """Discard meanwhile what TensorFlow's C++ code writes to standard error.

    A kernel shows it in red below the cell. Python's own messages and errors do not go there.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class NotebookDisplay:
    """One output below the cell that follows what a workflow reports; a context manager."""

    def __init__(self) -> None:
        self._lines: list[str] = []  # HTML of what is over
        self._phase = self._detail = ""
        self._epochs: list[str] = []  # rows of the current phase
        self._summary, self._share = "", 0.0
        self._speed = PhaseSpeed(time.monotonic())
        self._drawn = 0.0
        self._handle: Any = None

    def __enter__(self) -> NotebookDisplay:
        show = importlib.import_module("IPython.display").display
        self._handle = show(self, display_id=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.on_phase_end(failed=kind is not None)

    def on_phase(self, name: str, detail: str = "") -> None:
        """Close the phase before and start this one."""
        self._close()
        self._phase, self._detail = name, detail
        self._speed = PhaseSpeed(time.monotonic())
        self._draw()

    def on_phase_end(self, *, failed: bool = False) -> None:
        """Close the phase."""
        self._close(failed=failed)
        self._draw()

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Move the progress bar."""
        now = time.monotonic()
        self._speed.count(done, total, unit, now)
        self._summary, self._share = self._speed.summary(now), done / max(total, 1)
        if now - self._drawn >= _REDRAW_SECONDS or done == total:
            self._draw()

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Add a row with the epoch's figures."""
        self._speed.epoch_ended(epoch, epochs, time.monotonic())
        cells = [f"{epoch}/{epochs}" if epochs else ""]
        cells += [f"{metrics[name]:.4f}" if name in metrics else "" for name in _COLUMNS]
        self._epochs.append("".join(f"<td {_CELL}>{cell}</td>" for cell in cells))
        self._draw()

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Add a sentence."""
        mark = "<b>warning:</b> " if level == "warning" else ""
        self._add(f"{mark}{html.escape(text)}")
        self._draw()

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        lines = ["".join(f"<td {_CELL}>{html.escape(cell)}</td>" for cell in row) for row in rows]
        head = "".join(f"<th {_CELL}>{html.escape(name)}</th>" for name in columns)
        self._add(f"<b>{html.escape(title)}</b>{_table([head, *lines])}")
        self._draw()

    def _repr_html_(self) -> str:
        """Return what the notebook shows now."""
        return f"<div style='font-size:90%'>{''.join(self._lines)}{self._current()}</div>"

    def __repr__(self) -> str:
        """Return what is shown where no HTML can be."""
        return f"{self._phase} {self._summary or self._detail}".strip()

    def _current(self) -> str:
        if not self._phase:
            return ""
        bar = f"<progress value='{self._share:.3f}' max='1'></progress> " if self._summary else ""
        text = html.escape(self._summary or self._detail)
        return f"<div>{bar}<b>{html.escape(self._phase)}</b> {text}</div>{self._rows()}"

    def _rows(self) -> str:
        if not self._epochs:
            return ""
        names = ("epoch", *(name.replace("_", " ") for name in _COLUMNS))
        return _table(
            ["".join(f"<th {_CELL}>{name}</th>" for name in names), *self._epochs[-_MOST_EPOCHS:]]
        )

    def _close(self, *, failed: bool = False) -> None:
        if not self._phase:
            return
        seconds = readable_duration(time.monotonic() - self._speed.started)
        mark = "✗" if failed else "✓"
        detail = html.escape(self._detail)
        self._add(f"{mark} <b>{html.escape(self._phase)}</b> {seconds} {detail}{self._rows()}")
        self._phase = self._summary = ""
        self._epochs = []

    def _add(self, line: str) -> None:
        if len(self._lines) < _MOST_LINES:
            self._lines.append(f"<div>{line}</div>")

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        with suppress(OSError):  # the browser may be gone; the work goes on
            self._handle.update(self)


def _table(rows: Sequence[str]) -> str:
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
