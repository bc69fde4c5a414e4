"""The training loop: one phase of epochs over batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tltool.data.step_trace import StepTrace
from tltool.events import Observer
from tltool.training.agreement import agree, has_peers
from tltool.training.device_wait import DeviceWait
from tltool.training.devices import runs_ahead
from tltool.training.dropout_seeds import reseed
from tltool.training.early_stopping import BestModel, EarlyStopping
from tltool.training.keras_callbacks import TrainingHooks
from tltool.training.optimizers import Group
from tltool.training.phase_plan import Batch, PhaseData, PhasePlan, PhaseState, Row
from tltool.training.precision import Precision
from tltool.training.recovery import OutOfTimeError, Recovery
from tltool.training.time_budget import NO_LIMIT, TimeBudget
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
        hooks: calls the callbacks of a program.
    """

    network: keras.Model
    groups: Sequence[Group]
    plan: PhasePlan
    strategy: tf.distribute.Strategy
    precision: Precision
    history: list[Row]
    changing: Sequence[keras.Variable] = ()
    hooks: TrainingHooks = field(default_factory=TrainingHooks)
    _step: TrainingStep = field(init=False)
    _recovery: Recovery = field(init=False)
    _budget: TimeBudget = field(init=False)
    _rows: int = 0

    def run(
        self,
        data: PhaseData,
        *,
        best: BestModel,
        observer: Observer,
        before: PhaseState | None = None,
        keep: Callable[[PhaseState], None] = lambda _: None,
        budget: TimeBudget = NO_LIMIT,
    ) -> int | None:
        """Run the phase, or the rest of it.

        An epoch that ends with a loss that is not finite, or runs out of memory, is repeated from
        the state before it, see ``Recovery``.

        Args:
            data: training batches and validation.
            best: keeps the best weights.
            observer: receives epochs, progress and messages.
            before: state of the phase in an earlier process.
            keep: called after every epoch with the state that a later process resumes from.
            budget: ends the phase in time, once there is a model; the epoch that would not be
                finished in time is given up.

        Returns:
            The number of finished epochs, if the budget ended the phase; else None.

        Raises:
            GateError: the loss is not finite, also with a quarter of the learning rate.
            tf.errors.OpError: the device has too little memory even for an eighth of a batch.
        """
        self._recovery, self._budget = Recovery(self.plan, observer), budget
        self._make_step()
        local = best.fresh(min_delta=self.plan.min_delta)
        good = self._resume(before, local) if before else self._state(0, local, finished=False)
        longest = 0.0
        for epoch in range(good.epoch + 1, self.plan.epochs + 1):
            try:
                self._check_time(good.epoch, best, needed=longest)
                self._unfreeze(epoch, local, observer)
                row, measures = self._epoch(epoch, data, best, good)
            except OutOfTimeError:
                keep(PhaseState(good.epoch, True, good.numbers, {}))
                return good.epoch
            longest = max(longest, float(row["seconds"]))
            self.history.append(row)
            observer.on_epoch(epoch, self.plan.epochs, _numbers(row))
            _warn_of_overflows(self._step.take_skipped(), epoch, self.plan.steps, observer)
            stale = self._judge(measures, local)
            ended = self.hooks.stopped or (stale and epoch >= self._last_unfreezing())
            finished = epoch == self.plan.epochs or ended
            good = self._state(epoch, local, finished=finished)
            keep(good)
            if finished:
                if epoch < self.plan.epochs:
                    reason = self.hooks.stopped and "a callback set stop_training"
                    observer.on_message(_describe_stop(epoch, local.stale, reason))
                break
        return None

    def _judge(self, measures: dict[str, float], local: EarlyStopping) -> bool:
        """Update the schedule with the validation loss; return whether patience is over.

        Without ``measures`` the number of epochs is fixed.
        """
        if not measures:
            return False
        self.plan.schedule.epoch_ended(measures["val_loss"])
        return local.stale_after(measures, self.plan.patience)

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
            "diverged": [*self._recovery.diverged],
        }
        if finished:  # the next phase starts from the best weights
            return PhaseState(epoch, True, numbers, {})
        arrays = {f"{kind}/{n}": _value(v) for kind, vs in self._kinds() for n, v in enumerate(vs)}
        return PhaseState(epoch, False, numbers, arrays)

    def _kinds(self) -> list[tuple[str, Sequence[Any]]]:
        return [
            ("weight", self.changing or self._step.variables),
            ("average", self._step.averages),
            ("optimizer", self._step.optimizer_variables),
        ]

    def _resume(self, before: PhaseState, local: EarlyStopping) -> PhaseState:
        self._restore(before)
        self._recovery.resume(before)
        self.plan.schedule.resume(before.numbers["schedule"])
        local.value = before.numbers["stopping"]["value"]
        local.stale = before.numbers["stopping"]["stale"]
        return before

    def _restore(self, good: PhaseState) -> None:
        for kind, variables in self._kinds():
            for number, variable in enumerate(variables):
                variable.assign(good.arrays[f"{kind}/{number}"])

    def _make_step(self) -> None:
        self._step = TrainingStep(
            self.network,
            self.groups,
            replace(self.plan, micro_batch=self._recovery.micro_batch),
            self.strategy,
            loss_scale=self.precision.arithmetic == "float16",
        )

    def _check_time(self, epochs: int, best: BestModel, *, needed: float) -> None:
        """End the phase where the time is over and there is a model: the probe, or an epoch.

        Raises:
            OutOfTimeError: it ends here.
        """
        over = self._budget.is_over(self.plan.name, epochs, needed=needed)
        if self._budget.by_clock:  # clocks and speeds of workers differ
            over = agree(self.strategy, over)
        if over and self._has_model(best):
            raise OutOfTimeError

    def _has_model(self, best: BestModel) -> bool:
        return best.phase == "probe" or any(row["epoch"] for row in self.history)

    def _epoch(
        self, epoch: int, data: PhaseData, best: BestModel, good: PhaseState
    ) -> tuple[Row, dict[str, float]]:
        """Return row and measures of an epoch, repeated from the state ``good`` if it fails."""
        while (done := self._try_epoch(epoch, data, best)) is None:
            self._restore(good)
        return done

    def _try_epoch(
        self, epoch: int, data: PhaseData, best: BestModel
    ) -> tuple[Row, dict[str, float]] | None:
        """Return row and measures of an epoch; None if it must be repeated."""
        started = time.perf_counter()
        reseed(self.network, self.strategy, seed=self.plan.seed, epoch=epoch)
        trace, meter = StepTrace(), DeviceWait() if runs_ahead() else None
        self.hooks.begin_epoch(epoch)
        sums = None
        try:
            sums = self._train(trace.over(data.batches(epoch)), epoch, best, meter)
        except tf.errors.OpError as error:
            if has_peers(self.strategy):  # the others would not repeat the epoch
                raise
            self._recovery.halve_batch(self._rows, error)
        if sums is None:  # outside of the handler, where the error would keep memory in use
            self._make_step()
            return None
        share = meter.share if meter else trace.share
        self._step.average_statistics()
        with AveragedWeights(self._step):
            measures = agree(self.strategy, data.validate())  # all decisions rest on these
            row = self._row(epoch, sums, measures, time.perf_counter() - started)
            if not self._recovery.check_finite(row):
                return None
            best.offer(measures, phase=self.plan.name, epoch=epoch)
            self.hooks.end_epoch(epoch, row)
        if share is not None:
            row["data_wait"] = share
        return row, measures

    def _train(
        self, batches: Iterable[Batch], epoch: int, best: BestModel, meter: DeviceWait | None
    ) -> np.ndarray:
        """Return sums of (loss, hits, rows) over one epoch."""
        totals = []
        first = (epoch - 1) * self.plan.steps
        with self.precision.active():
            for done, batch in enumerate(batches, start=1):
                self._rows = len(batch[1])
                self._check_time(epoch - 1, best, needed=0.0)
                self._step.set_rate(self._rate(first + done - 1), epoch)
                self.hooks.begin_batch(done)
                step = partial(self._step, *batch)
                totals.append(meter.step(step) if meter else step())
                self.hooks.end_batch(done, totals[-1])
                self._recovery.observer.on_progress(done, self.plan.steps, unit="steps")
                if self.hooks.stopped:
                    break
            total: np.ndarray = np.sum([total.numpy() for total in totals], axis=0)
        return total

    def _rate(self, step: int) -> float:
        return self.plan.schedule.rate(step) * self._recovery.rate_factor

    def _row(self, epoch: int, sums: np.ndarray, measures: dict[str, float], seconds: float) -> Row:
        loss, hits, rows = (float(value) for value in sums)
        return {
            "phase": self.plan.name,
            "epoch": epoch,
            "loss": loss / rows,
            "accuracy": hits / rows,
            **measures,
            "learning_rate": self._rate(epoch * self.plan.steps - 1),
            "seconds": seconds,
            "images_per_second": rows / seconds,
        }


def _describe_stop(epoch: int, stale: int, reason: str | bool) -> str:
    epochs = f"{stale} epoch{'s' * (stale != 1)}"
    return f"stopped after epoch {epoch}: {reason or f'no improvement for {epochs}'}"


def _warn_of_overflows(skipped: int, epoch: int, steps: int, observer: Observer) -> None:
    if 2 * skipped > steps:
        observer.on_message(
            f"epoch {epoch}: gradients overflowed in float16 in {skipped} of {steps} steps, which "
            "were skipped; train.precision=bfloat16 or float32 avoids this",
            level="warning",
        )


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _numbers(row: Row) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, float)}
