"""One small run for all tests here that only look at what a run leaves."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import WITH_EXTRAS, WITHOUT_EXTRAS, merged
from tltool.events import SilentObserver
from tltool.export import exported_model
from tltool.export.open_saved_model import load_saved_model
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.recipe.load import load_recipe
from tltool.workflows.finetune import FinetuneResult, finetune
from tltool.workflows.prediction import model

TINY = (
    "model.backbone=tiny_vgg",
    "model.weights=random",
    "train.finetune.unfreeze=block3",
    "train.head.epochs=2",
    "train.finetune.epochs=2",
    "train.probe.folds=2",
    "train.probe.c_values=[0.1, 1]",
    "train.cache=on",
    *WITHOUT_EXTRAS,
    "export.enabled=false",
)
CLASSES = ("green apple", "kaki 柿", "plum")


def write_fruit(root: Path, *, n: int, seed: int = 0) -> Path:
    """Write ``n`` pictures of 40 x 40 pixels per class: colours that overlap, so errors happen."""
    rng = np.random.default_rng(seed)
    for hue, label in enumerate(CLASSES):
        (root / label).mkdir(parents=True)
        for number in range(n):
            pixels = rng.integers(0, 200, (40, 40, 3)).astype(np.float32)
            pixels[..., hue] += rng.normal(12, 10)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / label / f"{seed}_{number:02d}.png")
    return root


class AtPhase(SilentObserver):
    """Does something when a phase begins."""

    def __init__(self, phase: str, action: Callable[[], object]) -> None:
        self.phase, self.action = phase, action

    def on_phase(self, name: str, detail: str = "") -> None:
        if name == self.phase:
            self.action()


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below ``folder``."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass(frozen=True)
class Trained:
    """A finished run: its images, what ``finetune`` returned, and the images' digests before."""

    photos: Path
    result: FinetuneResult
    photos_before: dict[str, str]

    @property
    def run(self) -> Path:
        return self.result.run

    @property
    def export(self) -> Path:
        assert self.result.export is not None
        return self.result.export


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three classes, three phases, and an export."""
    folder = tmp_path_factory.mktemp("trained")
    photos = write_fruit(folder / "photos", n=14)
    before = contents(photos)
    recipe = load_recipe("vgg16", merged(*TINY, *WITH_EXTRAS, "name=fruit", "export.enabled=true"))
    result = finetune(
        photos, recipe=recipe, out=folder / "run", saved_models=folder / "saved_models"
    )
    return Trained(photos, result, before)


@pytest.fixture(scope="module")
def models_loaded_once() -> Iterator[None]:
    """Load a run or a SavedModel once for all commands of a file; loading takes a second.

    What has changed since is loaded anew.
    """
    load_runs, load_exports = (
        {t: once_per_state(functools.partial(load, trust=t)) for t in (False, True)}
        for load in (model._load_run, load_saved_model)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            exported_model, "load_saved_model", lambda path, trust: load_exports[trust](path)
        )
        patch.setattr(
            model, "_load_run", lambda path, trust: replace(load_runs[trust](path), path=path)
        )
        yield


def once_per_state(load: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a function that loads a folder again only when one of its files has changed."""

    @functools.cache
    def loaded(folder: Path, _state: object) -> Any:
        return load(folder)

    def load_once(folder: Path) -> Any:
        files = [path for path in sorted(folder.resolve().rglob("*")) if path.is_file()]
        state = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
        return loaded(folder.resolve(), state)

    return load_once


@pytest.fixture(scope="session")
def tiny_settings() -> tuple[str, ...]:
    """Return the settings of every run here."""
    return TINY


@pytest.fixture
def finetune_tiny(tmp_path: Path) -> Callable[..., FinetuneResult]:
    """Train the tiny backbone on ``photos`` with ``settings`` added, and return the result."""

    def run(photos: Path, *settings: str, **options: object) -> FinetuneResult:
        recipe = load_recipe("vgg16", merged(*TINY, *settings))
        out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        return finetune(photos, recipe=recipe, out=out, **options)

    return run


@pytest.fixture(scope="session")
def fruit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small class-per-folder tree of three classes."""
    return write_fruit(tmp_path_factory.mktemp("fruit") / "photos", n=8, seed=1)


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of weights for the tiny backbone: with it, features count as pretrained."""
    network = build_model(
        get_backbone("tiny_vgg"),
        image_size=(32, 32),
        classes=2,
        head="gap",
        dropout=0.0,
        hidden_units=8,
        norm="none",
        weights=None,
        seed=0,
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    network.save_weights(path)
    return path
