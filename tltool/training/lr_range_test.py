"""Learning rate range test: a short training with an exponentially rising learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tltool.events import Observer
from tltool.training.optimizers import Group
from tltool.training.phase_plan import Batch, PhaseData, PhasePlan
from tltool.training.precision import Precision
from tltool.training.training_step import TrainingStep

STEPS = 120
LIVE_STEPS = 60  # without cache, where each step takes as long as in training
LOWEST, HIGHEST = 1e-6, 10.0
_SMOOTHING = 0.9  # momentum of the moving average of the loss, of 120 steps
_DIVERGED = 3.0  # the test ends when the loss exceeds this many times its minimum
_SAFE_FRACTION = 0.1  # of the rate with the lowest loss, at which the loss no longer falls


@dataclass(frozen=True)
class RangeTest:
    """Losses at increasing learning rates.

    Attributes:
        rates: learning rate of each step, increasing by a constant factor.
        losses: mean loss of its batch, nats.
        smooth: bias-corrected exponential moving average of the losses.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest."""
        return self.rates[int(np.argmin(self.smooth))]

    @property
    def suggestion(self) -> float:
        """A tenth of ``lowest``, to two digits: the loss still falls, far from divergence."""
        return float(f"{_SAFE_FRACTION * self.lowest:.1e}")


def range_test(
    network: keras.Model,
    groups: Sequence[Group],
    plan: PhasePlan,
    data: PhaseData,
    *,
    strategy: tf.distribute.Strategy,
    precision: Precision,
    observer: Observer,
    steps: int = STEPS,
) -> RangeTest:
    """Train with rates from 1e-6 to 10, then restore the weights.

    The rate rises exponentially over the steps, or until the loss is three times its minimum (Smith
    2017, https://arxiv.org/abs/1506.01186). With fewer steps the momentum of the moving average is
    lower, so that its lag is the same fraction of the range. Moving statistics of batch
    normalisation are restored too.

    Args:
        network: inputs to logits.
        groups: variables to train.
        plan: settings of the phase; its schedule and epochs are not used.
        data: batches of the phase, epoch after epoch.
        strategy: devices.
        precision: arithmetic.
        observer: receives the progress.
        steps: maximum number of steps.
    """
    initial = network.get_weights()
    step = TrainingStep(
        network, groups, plan, strategy, loss_scale=precision.arithmetic == "float16"
    )
    factor = (HIGHEST / LOWEST) ** (1 / (steps - 1))
    momentum = _SMOOTHING ** (STEPS / steps)
    rates, losses, smooth = [], [], []
    average = 0.0
    with precision.active():
        for done, batch in zip(range(steps), _endless(data), strict=False):
            rate = LOWEST * factor**done
            step.set_rate(rate, plan.epochs)
            sums = step(*batch).numpy()
            loss = float(sums[0] / sums[2])
            if not math.isfinite(loss):
                break
            average = momentum * average + (1 - momentum) * loss
            rates.append(rate)
            losses.append(loss)
            smooth.append(average / (1 - momentum ** (done + 1)))
            observer.on_progress(done + 1, steps, unit="rates")
            if smooth[-1] > _DIVERGED * min(smooth):
                break
    network.set_weights(initial)
    return RangeTest(tuple(rates), tuple(losses), tuple(smooth))


def _endless(data: PhaseData) -> Iterator[Batch]:
    epoch = 1
    while True:
        yield from data.batches(epoch)
        epoch += 1
