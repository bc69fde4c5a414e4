"""The training loop: one phase of epochs over batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.data.step_trace import StepTrace
from tltool.errors import GateError
from tltool.events import Observer
from tltool.training.devices import runs_ahead
from tltool.training.early_stopping import BestModel, EarlyStopping
from tltool.training.optimizers import Group
from tltool.training.phase_plan import Batch, PhaseData, PhasePlan, PhaseState, Row
from tltool.training.precision import Precision
from tltool.training.training_step import AveragedWeights, TrainingStep


@dataclass(repr=False)  # TensorFlow prints the repr in warnings; this one would hold all weights
class Trainer:
    """Trains ``network`` (inputs to logits) in one phase.

    Attributes:
        network: the part of the model that runs in this phase.
        groups: variables to train, with their factors on the learning rate.
        plan: settings of the phase.
        strategy: devices.
        precision: arithmetic.
        history: rows of all phases; this phase appends to it.
        changing: variables that the phase updates: those of ``groups``, and moving statistics.
    """

    network: keras.Model
    groups: Sequence[Group]
    plan: PhasePlan
    strategy: tf.distribute.Strategy
    precision: Precision
    history: list[Row]
    changing: Sequence[keras.Variable] = ()
    _step: TrainingStep = field(init=False)

    def run(
        self,
        data: PhaseData,
        *,
        best: BestModel,
        observer: Observer,
        before: PhaseState | None = None,
        keep: Callable[[PhaseState], None] = lambda _: None,
    ) -> None:
        """Run the phase, or the rest of it.

        Args:
            data: training batches and validation.
            best: keeps the best weights.
            observer: receives epochs, progress and messages.
            before: state of the phase in an earlier process.
            keep: called after every epoch with the state that a later process resumes from.
        """
        self._step = TrainingStep(
            self.network,
            self.groups,
            self.plan,
            self.strategy,
            loss_scale=self.precision.arithmetic == "float16",
        )
        local = best.fresh(min_delta=self.plan.min_delta)
        done = self._resume(before, local) if before else 0
        for epoch in range(done + 1, self.plan.epochs + 1):
            self._unfreeze(epoch, local, observer)
            started = time.perf_counter()
            _reseed(self.network, self.plan.seed, epoch)
            trace = StepTrace()
            sums = self._epoch(trace.over(data.batches(epoch)), epoch, observer)
            with AveragedWeights(self._step):
                measures = data.validate()
                best.offer(measures, phase=self.plan.name, epoch=epoch)
            row = self._row(epoch, sums, measures, time.perf_counter() - started)
            if not runs_ahead():
                row["data_wait"] = trace.share
            _check_finite(row)
            self.history.append(row)
            observer.on_epoch(epoch, self.plan.epochs, _numbers(row))
            self.plan.schedule.epoch_ended(measures["val_loss"])
            stale = local.stale_after(measures, self.plan.patience)
            finished = epoch == self.plan.epochs or (stale and epoch >= self._last_unfreezing())
            keep(self._state(epoch, local, finished=finished))
            if finished:
                if epoch < self.plan.epochs:
                    observer.on_message(_describe_stop(epoch, local.stale))
                break

    def _unfreeze(self, epoch: int, local: EarlyStopping, observer: Observer) -> None:
        """Report the stage that is unfrozen in this epoch, and reset the patience."""
        number, between = divmod(epoch - 1, self.plan.unfreeze_every or self.plan.epochs)
        if number == 0 or between or number >= len(self.groups):
            return
        local.stale = 0
        observer.on_message(f"epoch {epoch}: {self.groups[number].name} is unfrozen")

    def _last_unfreezing(self) -> int:
        """Return the epoch in which the last stage of this phase is unfrozen."""
        every = self.plan.unfreeze_every
        count = min(len(self.groups) - 1, (self.plan.epochs - 1) // every) if every else 0
        return 1 + count * every

    def _state(self, epoch: int, local: EarlyStopping, *, finished: bool) -> PhaseState:
        numbers = {
            "schedule": self.plan.schedule.state(),
            "stopping": {"value": local.value, "stale": local.stale},
        }
        if finished:  # the next phase starts from the best weights
            return PhaseState(epoch, True, numbers, {})
        arrays = {f"{kind}/{n}": _value(v) for kind, vs in self._kinds() for n, v in enumerate(vs)}
        return PhaseState(epoch, False, numbers, arrays)

    def _kinds(self) -> list[tuple[str, Sequence[Any]]]:
        return [
            ("weight", self.changing),
            ("average", self._step.averages),
            ("optimizer", self._step.optimizer_variables),
        ]

    def _resume(self, before: PhaseState, local: EarlyStopping) -> int:
        for kind, variables in self._kinds():
            for number, variable in enumerate(variables):
                variable.assign(before.arrays[f"{kind}/{number}"])
        self.plan.schedule.resume(before.numbers["schedule"])
        local.value = before.numbers["stopping"]["value"]
        local.stale = before.numbers["stopping"]["stale"]
        return before.epoch

    def _epoch(self, batches: Iterable[Batch], epoch: int, observer: Observer) -> np.ndarray:
        """Return sums of (loss, hits, rows) over one epoch."""
        totals = []
        first = (epoch - 1) * self.plan.steps
        with self.precision.active():
            for done, (inputs, labels) in enumerate(batches, start=1):
                self._step.set_rate(self.plan.schedule.rate(first + done - 1), epoch)
                totals.append(self._step(inputs, labels))
                observer.on_progress(done, self.plan.steps, unit="steps")
        total: np.ndarray = np.sum([total.numpy() for total in totals], axis=0)
        return total

    def _row(self, epoch: int, sums: np.ndarray, measures: dict[str, float], seconds: float) -> Row:
        loss, hits, rows = (float(value) for value in sums)
        return {
            "phase": self.plan.name,
            "epoch": epoch,
            "loss": loss / rows,
            "accuracy": hits / rows,
            **measures,
            "learning_rate": self.plan.schedule.rate(epoch * self.plan.steps - 1),
            "seconds": seconds,
            "images_per_second": rows / seconds,
        }


def _describe_stop(epoch: int, stale: int) -> str:
    epochs = f"{stale} epoch{'s' * (stale != 1)}"
    return f"stopped after epoch {epoch}: no improvement for {epochs}"


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _reseed(network: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout of an epoch a function of (seed, epoch, layer)."""
    generators = [
        value
        for layer in network._flatten_layers()
        for value in vars(layer).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]
    for number, generator in enumerate(generators):
        mixed = np.random.SeedSequence((seed, epoch, number)).generate_state(2, np.uint32)
        generator.state.assign(mixed.astype(generator.state.dtype))


def _check_finite(row: Row) -> None:
    if not np.isfinite([row["loss"], row["val_loss"]]).all():
        raise GateError(
            f"the loss is not finite in epoch {row['epoch']} of the {row['phase']} phase",
            hint=f"lower the learning rate: --set train.{row['phase']}.learning_rate=1e-5, "
            "or --set train.precision=float32",
        )


def _numbers(row: Row) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, float)}
