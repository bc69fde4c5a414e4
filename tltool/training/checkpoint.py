"""How far training has come, saved after every epoch and taken up again after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from tltool.runs.state import RunState, StateFolder
from tltool.training.early_stopping import BestModel
from tltool.training.phase_plan import PhaseState, Row
from tltool.training.probe import Probe

PHASES = ("probe", "head", "finetune")


class TrainingState:
    """How far training has come, in memory and on disk.

    Args:
        folder: where it is kept.
        best: the best state of all phases; what an earlier process saved is put into it.
        early: how many of the first variables of ``best`` change before the fine-tune phase.
        seconds: wall seconds of each phase; those of an earlier process are added.

    Attributes:
        best: the best state of all phases.
        history: rows of all phases.
        probe: the linear probe, None before it is fitted.

    Raises:
        DataError: the state is damaged, or written by a later tltool.
    """

    def __init__(
        self, folder: StateFolder, best: BestModel, *, early: int, seconds: dict[str, float]
    ) -> None:
        self._folder, self.best, self._early, self._seconds = folder, best, early, seconds
        self.history: list[Row] = []
        self.probe: Probe | None = None
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

    def changing(self, phase: str) -> Sequence[keras.Variable]:
        """Return the variables that may change up to and in ``phase``."""
        return self.best.variables if phase == PHASES[-1] else self.best.variables[: self._early]

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

        Raises:
            EnvironmentProblem: the disk is full; the state before is kept.
        """
        self._phase, self._state = phase, state
        arrays = {f"phase/{name}": array for name, array in state.arrays.items()}
        probe = None
        if self.probe is not None:
            probe = {**asdict(self.probe), "kernel": None, "bias": None}
            arrays |= {"probe/kernel": self.probe.kernel, "probe/bias": self.probe.bias}
        if self.best.phase:
            some = None if self.best.phase == PHASES[-1] else self._early
            arrays |= {f"best/{n}": value for n, value in enumerate(self.best.weights[:some])}
        document = {
            "phase": phase,
            "epoch": state.epoch,
            "finished": state.finished,
            "numbers": state.numbers,
            "probe": probe,
            "best": [self.best.phase, self.best.epoch, self.best.measures],
            "history": self.history,
            "seconds": self._seconds,
        }
        self._folder.save(RunState(document, arrays))

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
