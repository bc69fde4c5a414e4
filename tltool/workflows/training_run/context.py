"""What every step of a training run shares."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tltool.events import Observer
from tltool.models.backbone_registry import Backbone
from tltool.recipe.load import to_yaml
from tltool.recipe.schema import Recipe
from tltool.runs.environment import cores
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import write_manifest
from tltool.training.devices import Device, choose_devices
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


@dataclass(frozen=True)
class RunOptions:
    """What a run was called with, beside its recipe; kept in the manifest.

    Attributes:
        images: source of images, with an absolute path.
        test: a separate source of test images.
        saved_models: where the export goes.
        weights: a file of pretrained weights.
        device: auto, cpu or gpu.
        tensorboard: whether event files are written.
        track: trackers beside TensorBoard.
    """

    photos: str
    test: str | None
    saved_models: Path
    weights: Path | None
    device: Device
    tensorboard: bool
    track: tuple[str, ...]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunOptions:
        """Return the arguments that ``to_json`` wrote."""
        weights = document["weights"]
        return cls(
            document["photos"],
            document["test"],
            Path(document["saved_models"]),
            Path(weights) if weights else None,
            document["device"],
            document["tensorboard"],
            tuple(document["track"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return absolute paths, so that the run can be taken up from anywhere."""
        return {
            "photos": self.photos,
            "test": self.test,
            "saved_models": str(self.saved_models.absolute()),
            "weights": str(self.weights.absolute()) if self.weights else None,
            "device": self.device,
            "tensorboard": self.tensorboard,
            "track": list(self.track),
        }


@dataclass
class Session:
    """One run: its recipe, folder, machine, and the seconds that each phase took.

    Attributes:
        recipe: what to do.
        backbone: registry entry of the recipe's backbone.
        run: folder of the run.
        machine: devices and arithmetic.
        observer: told about everything on the way.
        facts: what manifest.json says.
        seconds: wall seconds by phase.
    """

    recipe: Recipe
    backbone: Backbone
    run: RunLayout
    machine: Machine
    observer: Observer
    facts: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, detail: str = "") -> Iterator[None]:
        """Tell the observer that a phase starts, and take its time."""
        self.observer.on_phase(name, detail)
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def note(self, **facts: Any) -> None:
        """Add facts to manifest.json."""
        self.facts |= facts
        write_manifest(self.run.manifest, self.facts)


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
    return f"CPU with {cores()} cores"


def recipe_digest(recipe: Recipe) -> str:
    """Return a SHA-256 (hex) over all settings of a resolved recipe."""
    return hashlib.sha256(to_yaml(recipe).encode()).hexdigest()
