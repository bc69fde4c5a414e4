"""Fine-tune a pretrained network on a folder of photos. Start reading tltool here."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.artifact import Artifact, is_artifact, save_artifact
from tltool.errors import Interrupted, TltoolError
from tltool.events import Observer, SilentObserver
from tltool.features.views import PhotoSource
from tltool.models.backbones import Backbone, get_backbone
from tltool.models.build import build_model
from tltool.models.network import Network
from tltool.recipe.load import load_recipe, to_yaml
from tltool.recipe.schema import Recipe
from tltool.runs.layout import create_run, discard_run
from tltool.runs.log import LoggingObserver
from tltool.runs.manifest import write_manifest
from tltool.training.distribute import Device
from tltool.weights.sources import obtain
from tltool.weights.store import StoredWeights
from tltool.workflows import conclude, unpack
from tltool.workflows.deliver import export_run, parity_process
from tltool.workflows.learn import Learning, choose_cache
from tltool.workflows.photos import Photos, open_photos, write_photos
from tltool.workflows.recipes import check_names
from tltool.workflows.session import Session, prepare_machine


@dataclass(frozen=True)
class FinetuneResult:
    """What a run left behind.

    Attributes:
        run: the run folder.
        export: the folder of the exported SavedModel, None when the recipe exports nothing.
        metrics: the document of metrics.json.
        seconds: wall seconds of each phase, and ``total``.
    """

    run: Path
    export: Path | None
    metrics: Mapping[str, Any]
    seconds: Mapping[str, float]


def finetune(
    photos: Path | str,
    *,
    recipe: Recipe | str = "vgg16",
    test: Path | None = None,
    out: Path | None = None,
    saved_models: Path = Path("saved_models"),
    weights: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    observer: Observer | None = None,
) -> FinetuneResult:
    """Train a classifier on ``photos`` and export it.

    Args:
        photos: a folder with one folder of photos per class, or with train, val and test folders
            of such.
        recipe: what to do: a recipe, or the name or file of one.
        test: a separate folder of photos opened only by the final evaluation.
        out: the run folder; by default runs/<name>-<UTC>. It must be empty or absent.
        saved_models: the export goes to <saved_models>/<name>/<version>.
        weights: a file of pretrained weights to use instead of the backbone's own.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        observer: told about everything on the way.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    started = time.perf_counter()
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    session = _open_session(recipe, out=out, device=device, observer=observer or SilentObserver())
    with _interruptions_explained(session):
        with session.phase("weights", _weights_told(recipe, weights)):
            stored = _find_weights(session, weights, offline=offline)
        data = _open_data(session, Path(photos), test)
        with session.phase("model", session.backbone.name):
            network = _build(session, len(data.catalog.class_names), stored)
        learning = _prepare(session, network, data)
        held_logits = learning.run()
        with parity_process(session) as child:
            with session.phase("evaluation"):
                artifact, metrics = _conclude(learning, data, held_logits)
            sample = data.part("validation")
            export = export_run(session, artifact, sample, saved_models, child=child)
    session.seconds["total"] = time.perf_counter() - started
    _write_manifest(session, data, stored, learning.cached)
    return FinetuneResult(session.run.folder, export, metrics, dict(session.seconds))


def _open_data(session: Session, folder: Path, test: Path | None) -> Photos:
    recipe = session.recipe
    with session.phase("audit", str(folder)):
        data = open_photos(
            folder, test=test, settings=recipe.data, seed=recipe.seed, observer=session.observer
        )
        write_photos(session.run, data)
    return data


def _conclude(
    learning: Learning, data: Photos, held_logits: np.ndarray
) -> tuple[Artifact, dict[str, Any]]:
    """Calibrate, evaluate, keep the artifact, and refuse a model below the recipe's bar."""
    session = learning.session
    temperature = conclude.temperature_of(session, held_logits, learning.held.labels)
    metrics = conclude.evaluate_run(
        learning, data, held_logits, temperature=temperature, test=_test_source(learning, data)
    )
    description = conclude.describe(
        learning, data.catalog.class_names, learning.train.decode, temperature=temperature
    )
    artifact = Artifact(learning.network, description)
    save_artifact(session.run.folder, artifact)
    conclude.check_accuracy(session, metrics)
    return artifact, metrics


@contextmanager
def _interruptions_explained(session: Session) -> Iterator[None]:
    """Say what is kept when the user presses Ctrl-C, and leave nothing useless behind.

    Raises:
        Interrupted: the user pressed Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        kept = "with the trained model" if is_artifact(session.run.folder) else "without a model"
        raise Interrupted(
            f"interrupted; the run folder {session.run.folder} is kept {kept}, "
            "no export was written",
            hint="start the same command again (with another --out, if you gave one)",
        ) from None
    except TltoolError:
        if "model" not in session.seconds:
            # nothing was computed: the same command must work once the mistake is mended
            discard_run(session.run)
        raise
    finally:
        shutil.rmtree(session.run.cache, ignore_errors=True)


def _open_session(
    recipe: Recipe, *, out: Path | None, device: Device, observer: Observer
) -> Session:
    check_names(recipe)
    backbone = get_backbone(recipe.model.backbone)
    machine = prepare_machine(recipe, device)
    run = create_run(out, recipe.name, now=datetime.datetime.now(datetime.UTC))
    run.recipe.write_text(to_yaml(recipe), encoding="utf-8")
    observer = LoggingObserver(run.log, observer)
    observer.on_message(f"{machine.told}; run folder {run.folder}")
    return Session(recipe, backbone, run, machine, observer)


def _weights_told(recipe: Recipe, given: Path | None) -> str:
    return f"{recipe.model.backbone}, {given or recipe.model.weights}"


def _find_weights(
    session: Session, given: Path | None, *, offline: bool
) -> StoredWeights | Path | None:
    wanted = session.recipe.model.weights
    if given is not None:
        return given
    if wanted == "random":
        return None
    if wanted != "imagenet":
        return Path(wanted)
    return obtain(session.backbone.name, offline=offline, observer=session.observer)


def _build(session: Session, classes: int, stored: StoredWeights | Path | None) -> Network:
    recipe, backbone = session.recipe, session.backbone
    spec = unpack.decode_spec(recipe, backbone)
    with session.machine.strategy.scope(), session.machine.precision.building():
        model = build_model(
            backbone,
            image_size=(spec.height, spec.width),
            classes=classes,
            head=recipe.model.head.kind,
            dropout=recipe.model.head.dropout,
            hidden_units=recipe.model.head.hidden_units,
            norm=recipe.model.head.norm,
            weights=stored.path if isinstance(stored, StoredWeights) else stored,
            seed=recipe.seed,
            train_batch_norm=recipe.model.batch_norm == "train",
        )
    return Network(model, backbone, recipe.model.head.kind)


def _prepare(session: Session, network: Network, data: Photos) -> Learning:
    recipe, backbone = session.recipe, session.backbone
    decode = unpack.decode_spec(recipe, backbone)
    train = data.source("train", decode=decode, batch_size=recipe.train.batch_size)
    held = data.source("validation", decode=decode, batch_size=recipe.train.batch_size)
    stage = unpack.first_trained_stage(recipe, backbone)
    cached = choose_cache(session, network, stage=stage, train=len(train), held=len(held))
    augment = unpack.augment_spec(recipe)
    return Learning(session, network, train, held, augment, stage, cached)


def _test_source(learning: Learning, data: Photos) -> PhotoSource | None:
    if len(data.split.indices("test")) == 0:
        return None
    return data.source("test", decode=learning.train.decode, batch_size=learning.train.batch_size)


def _write_manifest(
    session: Session, data: Photos, stored: StoredWeights | Path | None, cached: bool
) -> None:
    weights = {"source": "random"} if stored is None else {"source": str(stored)}
    if isinstance(stored, StoredWeights):
        weights = {"source": stored.source, "sha256": stored.sha256, "licence": stored.licence}
    write_manifest(
        session.run.manifest,
        {
            "data_digest": data.catalog.digest(),
            "weights": weights,
            "backbone": _backbone_facts(session.backbone),
            "seed": session.recipe.seed,
            "device": session.machine.told,
            "cached": cached,
            "seconds": {name: round(value, 3) for name, value in session.seconds.items()},
        },
    )


def _backbone_facts(backbone: Backbone) -> dict[str, str]:
    return {"name": backbone.name, "preprocessing": backbone.preprocessing}
