"""How far training has come, saved after every epoch and taken up again after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from tltool.runs.state import RunState, StateFolder
from tltool.training.early_stopping import BestModel
from tltool.training.phase_plan import PhaseState, Row
from tltool.training.probe import Probe

PHASES = ("probe", "head", "finetune", "refit_head", "refit_finetune")
_OF_THE_BACKBONE = ("finetune", "refit_finetune")  # phases that train more than the head


class TrainingState:
    """How far training has come, in memory and on disk.

    Args:
        folder: where it is kept.
        best: the best state of all phases; what an earlier process saved is put into it.
        early: how many of the first variables of ``best`` change in phases of the head.
        seconds: wall seconds of each phase; those of an earlier process are added.

    Attributes:
        best: the best state of all phases.
        history: rows of all phases.
        probe: the linear probe, None before it is fitted.
        starts: phase and epoch of the model from which each phase starts, by its name.
        untrained: values of the variables of ``best`` before all training; empty without a refit.

    Raises:
        DataError: the state is damaged, or written by a later tltool.
    """

    def __init__(
        self, folder: StateFolder, best: BestModel, *, early: int, seconds: dict[str, float]
    ) -> None:
        self._folder, self.best, self._early, self._seconds = folder, best, early, seconds
        self.history: list[Row] = []
        self.probe: Probe | None = None
        self.starts: dict[str, tuple[str, int]] = {}
        self.untrained: list[np.ndarray] = []
        self._phase, self._state = "", PhaseState(0, True, {}, {})
        saved = folder.load()
        if saved is not None:
            self._restore(saved)

    @property
    def best_row(self) -> int | None:
        """The row of ``history`` whose model is kept; None for a state that has no row."""
        keys = [(row["phase"], row["epoch"]) for row in self.history]
        best = (self.best.phase, self.best.epoch)
        return keys.index(best) if best in keys else None

    def keep_untrained(self) -> None:
        """Keep a copy of the weights as they are now, before all training."""
        self.untrained = [keras.ops.convert_to_numpy(v) for v in self.best.variables]

    def changing(self, phase: str) -> Sequence[keras.Variable]:
        """Return the variables that may change up to and in ``phase``."""
        variables = self.best.variables
        return variables if phase in _OF_THE_BACKBONE else variables[: self._early]

    def rows_before(self, phase: str) -> int:
        """Return how many rows of ``history`` are of other phases."""
        return sum(row["phase"] != phase for row in self.history)

    def reached(self, phase: str) -> bool:
        """Whether a phase is over."""
        if not self._phase or PHASES.index(phase) > PHASES.index(self._phase):
            return False
        return phase != self._phase or self._state.finished

    def within(self, phase: str) -> PhaseState | None:
        """Return how far a phase has come, None before its first epoch."""
        return self._state if phase == self._phase else None

    def save(self, phase: str, state: PhaseState) -> None:
        """Save how far ``phase`` has come, with everything before it.

        It is written while training goes on, within ``on_disk_at_end``.

        Raises:
            EnvironmentProblem: the disk is full for the state before; that before it is kept.
        """
        self._phase, self._state = phase, state
        arrays = {f"phase/{name}": array for name, array in state.arrays.items()}
        probe = None
        if self.probe is not None:
            probe = {**asdict(self.probe), "kernel": None, "bias": None}
            arrays |= {"probe/kernel": self.probe.kernel, "probe/bias": self.probe.bias}
        if self.best.phase:
            some = None if self.best.phase in _OF_THE_BACKBONE else self._early
            arrays |= {f"best/{n}": value for n, value in enumerate(self.best.weights[:some])}
        document = {
            "phase": phase,
            "epoch": state.epoch,
            "finished": state.finished,
            "numbers": state.numbers,
            "probe": probe,
            "best": [self.best.phase, self.best.epoch, self.best.measures],
            "starts": self.starts,
            "history": self.history,
            "seconds": self._seconds,
        }
        self._folder.save(RunState(document, arrays))

    @contextmanager
    def on_disk_at_end(self) -> Iterator[None]:
        """Wait at the end of the body, also after an error, until the saved state is on disk.

        Raises:
            EnvironmentProblem: the disk is full; the state before is kept.
        """
        try:
            yield
        finally:
            self._folder.wait()

    def _restore(self, saved: RunState) -> None:
        document, arrays = saved.document, saved.arrays
        self._phase = document["phase"]
        self._state = PhaseState(
            document["epoch"],
            document["finished"],
            document["numbers"],
            _below(arrays, "phase/"),
        )
        self.history += document["history"]
        if document["probe"]:
            solution = {"kernel": arrays["probe/kernel"], "bias": arrays["probe/bias"]}
            self.probe = Probe(**{**document["probe"], **solution})
        self.starts = {name: (phase, epoch) for name, (phase, epoch) in document["starts"].items()}
        phase, epoch, measures = document["best"]
        if phase:
            weights = _or_present(_below(arrays, "best/"), self.best.variables)
            self.best.resume(measures, weights, phase=phase, epoch=epoch)
        for name, spent in document["seconds"].items():
            self._seconds[name] = self._seconds.get(name, 0.0) + spent


def _below(arrays: Any, prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _or_present(saved: dict[str, np.ndarray], now: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Return saved values, and those of the untrained network for what no phase has changed."""
    return [
        saved[str(number)] if str(number) in saved else keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(now)
    ]
