"""The protocol by which the library reports progress; the console and the tests implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol


class Observer(Protocol):
    """Receives the progress and messages of a workflow. The library itself never prints."""

    def on_phase(self, name: str, detail: str = "") -> None:
        """A phase starts; the one before it, if any, is over."""

    def on_phase_end(self, *, failed: bool = False) -> None:
        """The current phase is over before the next one starts; ``failed``: with a problem."""

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """``done`` of ``total`` units of the current phase are finished."""

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Epoch ``epoch`` (0 is the untrained state) of at most ``epochs`` is finished."""

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Something worth a line."""

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table worth showing; every cell is already formatted text."""


class SilentObserver:
    """Ignores everything: the default of the Python API."""

    def on_phase(self, name: str, detail: str = "") -> None:
        """Ignore it."""

    def on_phase_end(self, *, failed: bool = False) -> None:
        """Ignore it."""

    def on_progress(self, done: int, total: int, *, unit: str = "images") -> None:
        """Ignore it."""

    def on_epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Ignore it."""

    def on_message(self, text: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Ignore it."""

    def on_table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Ignore it."""
