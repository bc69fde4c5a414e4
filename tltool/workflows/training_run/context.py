"""What every step of a training run shares."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from tltool.data.catalog import Item
from tltool.engine.work import Engine
from tltool.errors import UsageError
from tltool.events import Observer
from tltool.recipe.load import to_yaml
from tltool.recipe.schema import Recipe
from tltool.runs.environment import cores
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import Manifest, write_manifest
from tltool.runs.peers import Peers
from tltool.runs.run_options import Device, RunOptions
from tltool.training.agreement import own_devices
from tltool.training.devices import choose_devices
from tltool.training.keras_objects import NO_OBJECTS, KerasObjects
from tltool.training.precision import Precision, choose_precision, recorded_precision
from tltool.training.time_budget import NO_LIMIT, TimeBudget
from tltool.workflows.resolve.run_spec import RunSpec
from tltool.workflows.training_run.run_fingerprint import RunFingerprint


@dataclass(frozen=True)
class Machine:
    """Devices and arithmetic of a run."""

    strategy: tf.distribute.Strategy
    gpu: bool
    precision: Precision

    @property
    def summary(self) -> str:
        """One line for the user."""
        replicas = len(own_devices(self.strategy))
        gpus = f"{replicas} GPU{'s' if replicas > 1 else ''}"
        here = gpus if self.gpu else f"CPU with {cores()} cores"
        processes = self.strategy.num_replicas_in_sync // replicas
        each = f"{processes} workers, each " if processes > 1 else ""
        return f"{each}{here}, {self.precision.arithmetic}"


@dataclass
class RunContext:
    """One run: what it does, where, on what, and how far it has come.

    Attributes:
        spec: what to do.
        options: what the run was called with.
        layout: paths in the run folder.
        machine: devices and arithmetic.
        observer: receives everything that is reported.
        manifest: what manifest.json holds.
        expected: data and weights of an earlier run that this one must find again, if any.
        seconds: wall seconds by phase.
        items: the audited images; none before the audit.
        budget: when training must end.
        started: when this process began the run, in seconds as ``time.perf_counter`` returns them.
        spent_before: seconds of the time limit that earlier processes spent.
        objects: what a Python program gave to training beside the recipe.
        engine: runs pieces of the work in other processes; None to do everything in this one.
        peers: the processes that train together; None for this one alone.
        first_folder: the run folder of the first worker; None if it is that of ``layout``.
    """

    spec: RunSpec
    options: RunOptions
    layout: RunLayout
    machine: Machine
    observer: Observer
    manifest: Manifest
    expected: RunFingerprint | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    items: Sequence[Item] = ()
    budget: TimeBudget = NO_LIMIT
    started: float = field(default_factory=time.perf_counter)
    spent_before: float = 0.0
    objects: KerasObjects = NO_OBJECTS
    engine: Engine | None = None
    peers: Peers | None = None
    first_folder: Path | None = None

    @property
    def known_folder(self) -> Path:
        """The run folder that the user knows."""
        return self.first_folder or self.layout.folder

    @property
    def writes(self) -> bool:
        """Whether this process evaluates and exports; of several workers only the first does."""
        return self.peers is None or self.peers.writes

    @property
    def recipe(self) -> Recipe:
        """The settings."""
        return self.spec.recipe

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """Report that a phase starts, and take its time."""
        self.observer.on_phase(name, detail)
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def record(self, manifest: Manifest) -> None:
        """Replace what manifest.json holds."""
        self.manifest = manifest
        write_manifest(self.layout.manifest, manifest)


def prepare_machine(
    recipe: Recipe,
    device: Device,
    *,
    recorded: str | None = None,
    peers: Peers | None = None,
) -> Machine:
    """Choose devices and arithmetic, and seed everything.

    Args:
        recipe: the settings.
        device: what to compute on.
        recorded: arithmetic of an earlier run, which decides where the recipe leaves it open.
        peers: the processes that train together; None for this one alone.

    Raises:
        EnvironmentProblem: ``device`` is gpu and TensorFlow sees none.
        UsageError: XLA cannot compile the training step for these devices.
    """
    strategy, gpu = choose_devices(device, peers) if peers else choose_devices(device)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    if recorded and recipe.train.precision == "auto":
        precision = recorded_precision(recorded, gpu=gpu)
    else:
        precision = choose_precision(recipe.train.precision, gpu=gpu)
    machine = Machine(strategy, gpu, precision)
    if recipe.train.jit_compile:
        _check_jit(machine)
    return machine


def _check_jit(machine: Machine) -> None:
    # TensorFlow has no public function for it
    from tensorflow.python.framework.config import is_op_determinism_enabled

    if machine.strategy.num_replicas_in_sync > 1:
        raise UsageError(
            "train.jit_compile works on one GPU, and TensorFlow finds "
            f"{machine.strategy.num_replicas_in_sync}",
            hint="choose one with CUDA_VISIBLE_DEVICES=0, or leave out train.jit_compile",
        )
    if is_op_determinism_enabled():
        raise UsageError(
            "train.jit_compile cannot work in this process: TensorFlow's deterministic operations "
            "were switched on earlier, and cannot be switched off",
            hint="start the run in a new process, or leave out train.jit_compile",
        )
    if machine.precision.rewrite:
        raise UsageError(
            "train.jit_compile computes in float32 on a CPU, and train.precision is bfloat16 here",
            hint="--set train.precision=float32, or leave out train.jit_compile",
        )


def recipe_digest(recipe: Recipe) -> str:
    """Return a SHA-256 (hex) over all settings of a resolved recipe."""
    return hashlib.sha256(to_yaml(recipe).encode()).hexdigest()
