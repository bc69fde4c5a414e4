"""Where images are decoded once: by the recipe, the device, the epochs and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conftest import PhotoMaker, small_manifest
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.errors import EnvironmentProblem
from tltool.events import SilentObserver
from tltool.features.image_source import ImageSource
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import Manifest
from tltool.workflows.training_run.epoch_images import EpochImages, decoded_bytes, epoch_images

ON = "train.cache_decoded=on"
ONE_EPOCH = ("train.head.epochs=1", "train.finetune.epochs=0")


class Messages(SilentObserver):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_message(self, text: str, *, level: str = "info") -> None:
        self.messages.append(text)


@dataclass
class Run:
    """What of a run decides where its images come from."""

    layout: RunLayout
    recipe: Recipe
    machine: SimpleNamespace
    manifest: Manifest = field(default_factory=small_manifest)
    spec: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(first_trained_stage="a"))
    observer: Messages = field(default_factory=Messages)

    def record(self, manifest: Manifest) -> None:
        self.manifest = manifest


Start = Callable[..., tuple[Any, EpochImages]]


@pytest.fixture
def start(make_photos: PhotoMaker, tmp_path: Path) -> Start:
    items = read_folder(make_photos(n=3, size=24)).items
    labels = np.array([item.label == "dog" for item in items], np.int64)
    source = ImageSource(items, labels, 2, DecodeSpec(16, 16), batch_size=4)

    def run(*settings: str, gpu: bool = False) -> tuple[Any, EpochImages]:
        recipe = load_recipe("vgg16", settings)
        run: Any = Run(RunLayout(tmp_path / "run"), recipe, SimpleNamespace(gpu=gpu, strategy=None))
        images: Any = SimpleNamespace(train=source, validation=source)
        return run, epoch_images(run, images)

    return run


@pytest.mark.parametrize(
    ("settings", "gpu", "once"),
    [
        ((), False, False),
        ((), True, True),
        (ONE_EPOCH, True, False),
        (("train.cache_decoded=off",), True, False),
        ((ON,), False, True),
    ],
)
def test_images_are_decoded_once_where_it_is_worth_it(
    start: Start, settings: tuple[str, ...], gpu: bool, once: bool
) -> None:
    run, images = start(*settings, gpu=gpu)
    assert run.manifest.decoded is once
    assert (images.train.decoded is not None) is once
    if images.train.decoded is None or images.validation.decoded is None:
        assert not run.layout.cache.exists()
        return
    stored = images.train.decoded, images.validation.decoded
    assert [each.pixels for each in stored] == ["uint8", "float32"]
    assert sum(each.path.stat().st_size for each in stored) == decoded_bytes(images)
    assert all(each.path.is_relative_to(run.layout.cache) for each in stored)


def test_without_disk_space_auto_decodes_in_every_epoch_and_on_is_an_error(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    run, images = start(gpu=True)
    assert run.manifest.decoded is False
    assert images.train.decoded is None
    assert "decoded in every epoch" in run.observer.messages[0]
    with pytest.raises(EnvironmentProblem, match=r"of decoded images: 1 MiB are free"):
        start(ON)
