"""What `benchmarks/faults.py` interrupts: each command with what it must leave whole."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tltool.events import Observer
from tltool.export.seal import check_seal
from tltool.recipe.load import load_recipe
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.weights import weights_store
from tltool.workflows.batch_predict import batch_predict
from tltool.workflows.export import export
from tltool.workflows.finetune import finetune
from tltool.workflows.pack_run import pack
from tltool.workflows.prediction.options import PredictOptions
from tltool.workflows.prediction.output_file import read_existing_rows
from tltool.workflows.resume import resume
from tltool.workflows.split_data import split_data

SETTINGS = (
    *("model.backbone=tiny_vgg", "model.weights=random", "train.finetune.unfreeze=block3"),
    *("train.head.epochs=2", "train.finetune.epochs=2", "train.probe.folds=2", "train.cache=on"),
    *("train.probe.c_values=[1]", "augment.policy=none", "evaluate.label_errors=false"),
    *("evaluate.calibrate=false", "train.refit=off", "seed=3"),
)
CLASSES = ("ash", "birch", "elm")
PER_CLASS = 8
_WEIGHTS = 4_000_000  # bytes


@dataclass(frozen=True)
class Job:
    """A command that writes something.

    Attributes:
        act: does it in a folder; done again after a fault, it goes on or starts anew.
        damage: yields what is neither whole nor absent in the folder.
        complete: whether all that the command should leave is there.
    """

    act: Callable[[Path, Observer], object]
    damage: Callable[[Path], Iterator[str]]
    complete: Callable[[Path], bool]


@dataclass(frozen=True)
class Given:
    """What the jobs start from.

    Attributes:
        images: a folder of images per class.
        run: a finished run of them.
    """

    images: Path
    run: Path


def write_images(folder: Path) -> None:
    """Write the images: three classes that differ in colour."""
    rng = np.random.default_rng(0)
    for hue, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = rng.integers(0, 200, (40, 40, 3))
            pixels[..., hue] += 55
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def train(images: Path, folder: Path, *settings: str, observer: Observer | None = None) -> None:
    recipe = load_recipe("vgg16", [*SETTINGS, *settings])
    finetune(
        images, recipe=recipe, out=folder / "run", saved_models=folder / "models",
        offline=True, tensorboard=False, observer=observer,
    )  # fmt: skip


def jobs(given: Given) -> dict[str, Job]:
    """Return all jobs by name."""
    expected = model_digest(given.run)

    def train_or_resume(folder: Path, observer: Observer) -> None:
        if not (folder / "run" / "recipe.yaml").is_file():
            train(given.images, folder, "export.enabled=false", observer=observer)
        elif read_manifest(folder / "run" / "manifest.json").status == "running":
            resume(folder / "run", offline=True, observer=observer)

    def predict(folder: Path, observer: Observer) -> None:
        options = PredictOptions(
            given.run, [given.images], output=folder / "rows.csv", append=True, offline=True
        )
        batch_predict(options, observer=observer)

    return {
        "finetune": Job(
            train_or_resume,
            lambda folder: damage_of_run(folder / "run"),
            lambda folder: model_digest(folder / "run") == expected,
        ),
        "export": Job(
            lambda folder, _: export(given.run, "keras", out=folder / "models", data=given.images),
            lambda folder: damage_of_exports(folder / "models"),
            lambda folder: any((folder / "models").glob("*/1/assets.extra/manifest.json")),
        ),
        "runs pack": Job(
            lambda folder, _: (
                (folder / "run.tar.gz").exists()
                or pack(given.run, folder / "run.tar.gz", model=True)
            ),
            lambda folder: damage_of_pack(folder / "run.tar.gz", given.run),
            lambda folder: (folder / "run.tar.gz").is_file(),
        ),
        "weights import": Job(
            lambda folder, _: add_weights(folder),
            damage_of_weights,
            lambda folder: found_weights(folder) == b"1",
        ),
        "predict --append": Job(
            predict,
            lambda folder: damage_of_rows(folder / "rows.csv"),
            lambda folder: (
                len(read_existing_rows(folder / "rows.csv").paths) == PER_CLASS * len(CLASSES)
            ),
        ),
        "data split --out": Job(
            lambda folder, _: (
                (folder / "split").exists()
                or split_data(
                    str(given.images), validation=0.25, test=0.25, out=folder / "split", how="copy"
                )
            ),
            lambda folder: damage_of_split(folder / "split", given.images),
            lambda folder: (folder / "split" / "split.csv").is_file(),
        ),
    }


def model_digest(run: Path) -> str | None:
    """Return the digest of the weights of a finished run."""
    manifest = read_manifest(run / "manifest.json")
    return manifest.model_digest if manifest.status == "finished" else None


def damage_of_run(run: Path) -> Iterator[str]:
    layout = RunLayout(run)
    if layout.manifest.is_file():
        yield from _failing(layout.manifest, read_manifest)
    for name in ("model.keras", "calibration.npz"):
        if (run / name).is_file():
            yield from _failing(run / name, _check_zip)
    for path in run.glob("*.json"):
        yield from _failing(path, lambda path: json.loads(path.read_bytes()))
    for path in run.glob("*.csv"):
        if not path.read_bytes().endswith(b"\n"):
            yield f"{path.name} ends within a row"


def damage_of_exports(models: Path) -> Iterator[str]:
    for version in models.glob("*/[0-9]*"):
        yield from _failing(version, check_seal)


def damage_of_pack(file: Path, run: Path) -> Iterator[str]:
    if file.exists():
        yield from _failing(file, lambda file: _check_pack(file, run))


def damage_of_rows(file: Path) -> Iterator[str]:
    yield from _failing(file, read_existing_rows)


def damage_of_split(split: Path, images: Path) -> Iterator[str]:
    if not split.exists():
        return
    there = sorted(_digest(path) for path in split.rglob("*.png"))
    if there != sorted(_digest(path) for path in images.rglob("*.png")):
        yield "the split has other images"
    if not (split / "split.csv").is_file():
        yield "the split has no split.csv"


def add_weights(folder: Path) -> None:
    """Put new weights into a store that holds older ones."""
    os.environ["TLTOOL_WEIGHTS_DIR"] = str(folder / "store")
    for content in (b"0", b"1"):
        file = folder / f"{content.decode()}.h5"
        file.write_bytes(content * _WEIGHTS)
        weights_store.add("net", file, source="a benchmark", licence="none")


def found_weights(folder: Path) -> bytes:
    """Return the first byte of the stored weights; empty if there are none."""
    os.environ["TLTOOL_WEIGHTS_DIR"] = str(folder / "store")
    stored = weights_store.find("net")
    if stored is None:
        return b""
    weights_store.verify(stored)
    return stored.path.read_bytes()[:1]


def damage_of_weights(folder: Path) -> Iterator[str]:
    yield from _failing(folder, found_weights)


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        if (name := file.testzip()) is not None:
            raise ValueError(f"{name} is damaged")


def _check_pack(file: Path, run: Path) -> None:
    with tarfile.open(file) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None or not content.read():
                raise ValueError(f"{member.name} is empty")
        if "packages.txt" not in tar.getnames():
            raise ValueError(f"the pack of {run} is not complete")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _failing(path: Path, check: Callable[[Path], object]) -> Iterator[str]:
    try:
        check(path)
    except Exception as error:
        yield f"{path.name}: {type(error).__name__}: {error}"
