"""Pictures of losses, weight limits and learning rates, computed by tltool's own functions."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

from drawn.sheet import BLUE, GREEN, INK, MUTED, ORANGE, RED, label, save, sheet
from tltool.evaluation.plots.lr_range_plot import plot_range_tests
from tltool.events import SilentObserver
from tltool.training.early_stopping import EarlyStopping
from tltool.training.learning_rate_schedule import Schedule
from tltool.training.loss import classification_loss
from tltool.training.lr_range_test import range_test
from tltool.training.optimizers import Group, make_optimizer
from tltool.training.phase_plan import PhaseData, PhasePlan
from tltool.training.precision import Precision
from tltool.training.training_step import TrainingStep

_FLOAT32 = Precision("float32", "float32", rewrite=False)


def draw_training() -> None:
    """Draw every picture of this module."""
    _losses()
    _decay()
    _limits()
    _averages()
    _schedules()
    _rates_by_stage()
    _range_test()


def _plan(**others: Any) -> PhasePlan:
    settings: dict[str, Any] = {
        "name": "head", "epochs": 1, "steps": 1, "schedule": Schedule("constant", 0.1, 1, 0),
        "optimizer": "adamw", "weight_decay": 0.0, "smoothing": 0.0, "class_weights": None,
        "focal_gamma": 0.0, "ema": 0.0, "patience": 3, "min_delta": 0.0, "seed": 0,
    }  # fmt: skip
    return PhasePlan(**{**settings, **others})


def _losses() -> None:
    probability = np.linspace(0.004, 0.996, 250)
    logits = np.stack([np.log(probability), np.log(1 - probability)], axis=1)
    labels = np.tile(np.array([1.0, 0.0], np.float32), (len(logits), 1))

    def loss(smoothing: float = 0.0, gamma: float = 0.0) -> np.ndarray:
        settings: dict[str, Any] = {"class_weights": None, "focal_gamma": gamma}
        return classification_loss(labels, logits, smoothing=smoothing, **settings).numpy()

    with sheet("losses", 1, 2, (8.6, 3.3)) as panels:
        for share, colour in ((0.0, INK), (0.1, BLUE), (0.3, ORANGE)):
            panels[0, 0].plot(probability, loss(share), color=colour, label=f"{share:g}")
        for gamma, colour in ((0.0, INK), (0.5, BLUE), (2.0, ORANGE), (5.0, RED)):
            panels[0, 1].plot(probability, loss(gamma=gamma), color=colour, label=f"{gamma:g}")
        titles = (("label smoothing, two classes", "smoothing"), ("focal loss", "gamma"))
        for axes, (title, name) in zip(panels[0], titles, strict=True):
            label(axes, title, "probability of the true class", "loss, nats")
            axes.set_ylim(0, 4)
            axes.legend(title=name)


def _decay() -> None:
    """Two weights whose mean gradient is zero: one with large, one with small gradients."""
    steps, size = 600, np.array([[3.0, 0.03]], np.float32)

    def trajectory(decay: float, l2: float) -> np.ndarray:
        weights, rng = keras.Variable(np.ones((1, 2), np.float32)), np.random.default_rng(0)
        optimizer = make_optimizer("adamw", Group([weights]), weight_decay=decay)
        optimizer.learning_rate.assign(0.002)
        values = []
        for _ in range(steps):
            noise = size * rng.standard_normal((1, 2)).astype(np.float32)
            optimizer.apply([tf.constant(noise) + 2 * l2 * weights.value], [weights])
            values.append(keras.ops.convert_to_numpy(weights)[0].copy())
        return np.array(values)

    with sheet("weight_decay", 1, 2, (8.6, 3.2)) as panels:
        for axes, title, decay, l2 in (
            (panels[0, 0], "weight_decay 0.9, decoupled", 0.9, 0.0),
            (panels[0, 1], "l2 0.05, in the gradient", 0.0, 0.05),
        ):
            quiet, noisy = trajectory(decay, l2).T[::-1]
            axes.plot(quiet, color=BLUE, label="gradients of size 0.03")
            axes.plot(noisy, color=ORANGE, label="gradients of size 3")
            label(axes, title, "steps of AdamW", "weight")
            axes.set_ylim(-0.3, 1.2)
            axes.legend(loc="lower left", fontsize=9)


def _limits() -> None:
    rng = np.random.default_rng(3)
    with sheet("limits", 1, 2, (7.4, 3.5)) as panels:
        weights = rng.standard_normal((2, 14)).astype(np.float32) * 1.6
        shorter = keras.constraints.MaxNorm(2.0, axis=[0])(weights)
        _arrows(panels[0, 0], weights, np.asarray(shorter), "max_norm 2: each unit's weights")
        gradients = rng.standard_normal((14, 2, 1)).astype(np.float32) * rng.uniform(
            0.2, 3, (14, 1, 1)
        ).astype(np.float32)
        clipped = np.array([tf.clip_by_global_norm([one], 2.0)[0][0] for one in gradients])
        title = "clip_norm 2: the gradient of each step"
        _arrows(panels[0, 1], gradients[:, :, 0].T, clipped[:, :, 0].T, title)


def _arrows(axes: Any, before: np.ndarray, after: np.ndarray, title: str) -> None:
    for long, short in zip(before.T, after.T, strict=True):
        axes.plot([0, long[0]], [0, long[1]], color=MUTED, linewidth=1, linestyle=":")
        axes.plot([0, short[0]], [0, short[1]], color=BLUE, linewidth=1.6)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(2 * np.cos(turn), 2 * np.sin(turn), color=RED, linewidth=1)
    label(axes, title, "", "")
    axes.set(aspect="equal", xlim=(-4.5, 4.5), ylim=(-3.8, 3.8))


def _averages() -> None:
    rng = np.random.default_rng(1)
    with sheet("averages", 1, 2, (8.6, 3.2)) as panels:
        weight = 1 - np.exp(-np.arange(200) / 40) + 0.12 * rng.standard_normal(200)
        axes = panels[0, 0]
        axes.plot(weight, color=MUTED, linewidth=0.8, label="the weight itself")
        for momentum, colour in ((0.95, BLUE), (0.99, ORANGE)):
            average = [0.0]
            for value in weight:
                average.append(momentum * average[-1] + (1 - momentum) * value)
            axes.plot(average[1:], color=colour, label=f"ema {momentum}")
        label(axes, "moving average of a weight", "steps", "")
        axes.legend(loc="lower right")
        _stopped(panels[0, 1], rng)


def _stopped(axes: Any, rng: np.random.Generator) -> None:
    epochs = np.arange(1, 21)
    loss = 0.5 + 0.9 * np.exp(-epochs / 3) + 0.02 * epochs + 0.015 * rng.standard_normal(20)
    stopping, best, last = EarlyStopping("val_loss"), 0, 0
    for epoch, value in zip(epochs, loss, strict=True):
        stale = stopping.stale_after({"val_loss": float(value)}, patience=3)
        best, last = (epoch if stopping.stale == 0 else best), epoch
        if stale:
            break
    axes.plot(epochs[:last], loss[:last], "o-", color=BLUE, markersize=4)
    axes.plot(epochs[last:], loss[last:], "o:", color=MUTED, markersize=3, label="not trained")
    axes.axvline(best, color=GREEN, label="best weights: restored")
    axes.axvline(last, color=RED, label="patience exhausted: stop")
    label(axes, "early stopping, patience 3", "epoch", "val_loss")
    axes.set_xticks([1, 5, 10, 15, 20])
    axes.legend(fontsize=8.5, loc="upper right")


def _schedules() -> None:
    epochs, steps = 30, 20
    drawn: dict[str, dict[str, Any]] = {
        "cosine": {"kind": "cosine"},
        "constant": {"kind": "constant"},
        "step": {"kind": "step", "every": 10 * steps},
        "plateau": {"kind": "plateau"},
        "one_cycle": {"kind": "one_cycle"},
    }
    with sheet("schedules", 1, 5, (11.0, 2.6)) as panels:
        for axes, (name, settings) in zip(panels[0], drawn.items(), strict=True):
            loss = 1.0
            schedule = Schedule(peak=1.0, steps=epochs * steps, warmup=2 * steps, **settings)
            rates = []
            for epoch in range(epochs):
                rates += [schedule.rate(epoch * steps + step) for step in range(steps)]
                loss -= 0.01 if epoch < 12 or 14 <= epoch < 23 else 0.0  # two plateaus
                schedule.epoch_ended(loss)
            axes.plot(np.arange(len(rates)) / steps, rates, color=BLUE)
            label(axes, name, "epoch", "")
            axes.set_ylim(0, 1.05)
        panels[0, 0].set_ylabel("fraction of the peak")


def _rates_by_stage() -> None:
    """The learning rate of each stage of a small network."""
    stages, epochs, peak = ("block5 and head", "block4", "block3"), 12, 2e-4
    network = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in stages)])
    parts = [layer.trainable_variables for layer in network.layers[::-1]]
    settings = {
        "stage_decay 0.4": (0.4, 0),
        "unfreeze_every 3": (1.0, 3),
        "both": (0.4, 3),
    }
    with sheet("rates_by_stage", 1, 3, (10.0, 2.7)) as panels:
        for axes, (title, (decay, every)) in zip(panels[0], settings.items(), strict=True):
            groups = [Group(part, decay**depth) for depth, part in enumerate(parts)]
            plan, devices = _plan(unfreeze_every=every), tf.distribute.get_strategy()
            step = TrainingStep(network, groups, plan, devices, loss_scale=False)
            rates = []
            for epoch in range(1, epochs + 1):
                step.set_rate(peak, epoch)
                rates.append([float(one.learning_rate) for one in step._optimizers])
            styles = ((BLUE, 6), (ORANGE, 3.5), (GREEN, 1.4))  # overlapping lines stay visible
            for name, rate, (colour, width) in zip(
                stages, np.array(rates).T * 1e4, styles, strict=True
            ):
                axes.step(
                    *(range(1, epochs + 1), rate),
                    where="post", label=name, color=colour, linewidth=width,
                )  # fmt: skip
            label(axes, title, "epoch", "")
            axes.set(ylim=(0, 2.1), xticks=[1, 4, 7, 10, 12])
        panels[0, 0].set_ylabel("learning rate, 1e-4")
        panels[0, 2].legend(fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.9))


def _range_test() -> None:
    """The range test of a linear head on handwritten digits."""
    digits = load_digits()
    inputs = (digits.data / 8 - 1).astype(np.float32)
    labels = np.eye(10, dtype=np.float32)[digits.target]
    network = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(0)),
        ]
    )

    def batches(epoch: int) -> Any:
        order = np.random.default_rng(epoch).permutation(len(inputs))
        return [(inputs[rows], labels[rows]) for rows in order[: 32 * 50].reshape(50, 32)]

    test = range_test(
        network, [Group(network.trainable_variables)], _plan(epochs=1),
        PhaseData(batches, validate=dict), strategy=tf.distribute.get_strategy(),
        precision=_FLOAT32, observer=SilentObserver(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.png"
        plot_range_tests(path, {"head": test}, {"head": 1e-3})
        save("range_test", BytesIO(path.read_bytes()))
