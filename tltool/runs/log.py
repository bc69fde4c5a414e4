"""log.txt: what was reported during a run, with the time of day; each report is one line."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tltool.errors import visible
from tltool.events import Observer


class LoggingObserver:
    """Writes everything but progress into a file and passes all of it on."""

    def __init__(self, path: Path, observer: Observer) -> None:
        self._path, self._next = path, observer

    def on_phase(self, name: str, detail: str = "") -> None:
        """Log and pass on."""
        self._write(f"{name}: {detail}" if detail else name)
        self._next.on_phase(name, detail)

    def on_phase_end(self, *, failed: bool = False) -> None:
        """Pass on."""
        self._next.on_phase_end(failed=failed)

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Pass on."""
        self._next.on_progress(done, total, unit=unit)

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Log and pass on."""
        figures = ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())
        self._write(f"epoch {epoch} of {epochs}: {figures}" if epochs else figures)
        self._next.on_epoch(epoch, epochs, metrics)

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Log and pass on."""
        self._write(f"{level}: {text}")
        self._next.on_message(text, level=level)

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Log and pass on."""
        for cells in (columns, *rows):
            self._write(f"{title}: {' | '.join(cells)}")
        self._next.on_table(title, columns, rows)

    def _write(self, line: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now:%Y-%m-%dT%H:%M:%SZ} {visible(line)}\n")
