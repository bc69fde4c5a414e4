"""What a phase of training does about a loss that is not finite, and about too little memory.

Both go back to the last good state, that after the last finished epoch, and repeat the epoch: with
half the learning rate, or with half as many images at once. A step that ran out of memory may have
updated some of the weights already, so it cannot be repeated alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tltool.errors import GateError
from tltool.events import Observer
from tltool.features.out_of_memory import MicroBatches, current_micro_batches
from tltool.training.phase_plan import PhasePlan, PhaseState, Row

_MOST_HALVINGS = 2


class OutOfTimeError(Exception):
    """The time for training is over in the middle of an epoch."""


@dataclass
class Recovery:
    """The recoveries of one phase.

    Attributes:
        plan: settings of the phase.
        observer: receives one message for each recovery.
        diverged: epochs in which the loss was not finite, one for each halving of the rate.
        micro_batches: how many images are processed at once.
    """

    plan: PhasePlan
    observer: Observer
    diverged: list[int] = field(default_factory=list)
    micro_batches: MicroBatches = field(default_factory=current_micro_batches)

    @property
    def rate_factor(self) -> float:
        """Factor on the learning rate."""
        return 0.5 ** len(self.diverged)

    @property
    def micro_batch(self) -> int | None:
        """Most images at once; None for whole batches."""
        return self.micro_batches.rows.get(self.plan.name, self.plan.micro_batch)

    def resume(self, state: PhaseState) -> None:
        """Take up what an earlier process recovered from."""
        self.diverged = [int(epoch) for epoch in state.numbers.get("diverged", ())]

    def check_finite(self, row: Row) -> bool:
        """Return whether the losses of an epoch are finite; if not, halve the learning rate.

        Raises:
            GateError: they are not, and the rate was halved twice already.
        """
        if np.isfinite([row["loss"], row.get("val_loss", 0.0)]).all():
            return True
        what = f"the loss is not finite in epoch {row['epoch']} of the {row['phase']} phase"
        if len(self.diverged) == _MOST_HALVINGS:
            raise GateError(
                f"{what}, also with a quarter of the learning rate",
                hint=f"lower the learning rate: --set train.{row['phase']}.learning_rate=1e-5, "
                "or --set train.precision=float32",
            )
        self.diverged.append(int(row["epoch"]))
        self.observer.on_message(
            f"{what}: it is repeated from the last good state with half the learning rate",
            level="warning",
        )
        return False

    def halve_batch(self, rows: int, error: Exception) -> None:
        """Process half as many images at once from now on.

        Args:
            rows: images of the batch that was trained on.
            error: what was raised; raised again if it is of another kind, or halving cannot help.
        """
        self.micro_batches.halve(self.plan.name, min(rows, self.plan.micro_batch or rows), error)
