"""What every step of a training run shares."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import keras
import tensorflow as tf

from tltool.events import Observer
from tltool.models.backbones import Backbone
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout
from tltool.training.distribute import Device, choose_devices
from tltool.training.precision import Precision, choose_precision


@dataclass(frozen=True)
class Machine:
    """Devices and arithmetic of a run."""

    strategy: tf.distribute.Strategy
    gpu: bool
    precision: Precision

    @property
    def told(self) -> str:
        """One line for the user."""
        replicas = self.strategy.num_replicas_in_sync
        place = f"{replicas} GPU{'s' if replicas > 1 else ''}" if self.gpu else _cores()
        return f"{place}, {self.precision.arithmetic}"


@dataclass
class Session:
    """One run: its recipe, folder, machine, and the seconds that each phase took."""

    recipe: Recipe
    backbone: Backbone
    run: RunLayout
    machine: Machine
    observer: Observer
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """Tell the observer that a phase starts, and take its time."""
        self.observer.on_phase(name, detail)
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def prepare_machine(recipe: Recipe, device: Device) -> Machine:
    """Choose devices and arithmetic, and seed everything.

    Raises:
        EnvironmentProblem: a GPU is wanted and TensorFlow sees none.
    """
    strategy, gpu = choose_devices(device)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    return Machine(strategy, gpu, choose_precision(recipe.train.precision, gpu=gpu))


def _cores() -> str:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU with {count} cores"
