"""Fine-tune a pretrained network on a folder of images. Start reading tltool here."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import TltoolError
from tltool.events import Observer, SilentObserver
from tltool.export.versions import check_base
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.load import load_recipe, to_yaml
from tltool.recipe.schema import Recipe
from tltool.recipe.source_text import anchored
from tltool.runs.environment import environment
from tltool.runs.layout import RunLayout, create_run, discard_run
from tltool.runs.lock import locked
from tltool.runs.log import LoggingObserver
from tltool.runs.manifest import write_manifest
from tltool.tracking.observer import check_trackers, tracked
from tltool.training.devices import Device, gpu_facts
from tltool.workflows.preflight.recipe import check_recipe
from tltool.workflows.preflight.unused_settings import notes, unfreezing_note
from tltool.workflows.training_run.context import (
    RunOptions,
    Session,
    prepare_machine,
    recipe_digest,
)
from tltool.workflows.training_run.export import export_run, parity_process
from tltool.workflows.training_run.failures import handle_run_failure
from tltool.workflows.training_run.fingerprint import RunFingerprint
from tltool.workflows.training_run.finish import finish_run
from tltool.workflows.training_run.setup import (
    build,
    describe_weights,
    find_weights,
    note_weights,
    open_data,
    prepare_learning,
)
from tltool.workflows.training_run.trainer import Learning


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
    test: Path | str | None = None,
    out: Path | None = None,
    saved_models: Path = Path("saved_models"),
    weights: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    tensorboard: bool = True,
    track: Sequence[str] = (),
    observer: Observer | None = None,
    expected: RunFingerprint | None = None,
    caches: Path | None = None,
) -> FinetuneResult:
    """Train a classifier on ``photos`` and export it.

    Args:
        images: a folder with one folder of images per class, or with train, val and test folders
            of such; or any other source: docs/data.md names them.
        recipe: what to do: a recipe, or the name or file of one.
        test: a separate source of images opened only by the final evaluation.
        out: the run folder; by default runs/<name>-<UTC>. It must be empty or absent.
        saved_models: the export goes to <saved_models>/<name>/<version>.
        weights: a file of pretrained weights to use instead of the backbone's own.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        tensorboard: write event files into the run folder.
        track: where to log the run besides: mlflow.
        observer: told about everything on the way.
        expected: images and weights that the run must find.
        caches: a folder of features that several runs share; by default the run's own, which is
            removed at the end.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    check_recipe(recipe, weights)
    check_trackers(track, offline=offline)
    if recipe.export.enabled:
        check_base(saved_models / recipe.name)
    now = datetime.datetime.now(datetime.UTC)
    run = create_run(out, recipe.name, now=now)
    with locked(run.folder):
        run.recipe.write_text(to_yaml(recipe), encoding="utf-8")
        arguments = RunOptions(
            anchored(photos),
            anchored(test) if test else None,
            saved_models,
            weights,
            device,
            tensorboard,
            tuple(track),
        )
        facts = {
            "name": recipe.name,
            "status": "running",
            "started": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "recipe_digest": recipe_digest(recipe),
            "arguments": arguments.to_json(),
            **environment(),
        }
        write_manifest(run.manifest, facts)  # from here on the run can be resumed
        session = open_session(recipe, run, facts, device=device, observer=observer)
        for note in notes(recipe, session.backbone):
            session.observer.on_message(f"note: {note}")
        return carry_out(session, arguments, offline=offline, expected=expected, caches=caches)


def open_session(
    recipe: Recipe,
    run: RunLayout,
    facts: dict[str, Any],
    *,
    device: Device,
    observer: Observer | None,
) -> Session:
    """Return what every step of the run shares, with the machine prepared.

    Raises:
        EnvironmentProblem: a GPU is wanted and there is none.
    """
    backbone = get_backbone(recipe.model.backbone)
    try:
        machine = prepare_machine(recipe, device)
    except TltoolError:
        if "data_digest" not in facts:
            discard_run(run)
        raise
    logged = LoggingObserver(run.log, observer or SilentObserver())
    session = Session(recipe, backbone, run, machine, logged, facts)
    session.note(seed=recipe.seed, device=machine.told, gpus=gpu_facts())
    logged.on_message(f"{machine.told}; run folder {run.folder}")
    warning = unfreezing_note(recipe, backbone)
    if warning:
        logged.on_message(warning, level="warning")
    return session


def carry_out(
    session: Session,
    arguments: RunOptions,
    *,
    offline: bool,
    expected: RunFingerprint | None,
    caches: Path | None = None,
) -> FinetuneResult:
    """Do the whole run, or what is left of it.

    Args:
        session: the run; its folder is locked.
        arguments: folders and files.
        offline: open no network connection.
        expected: images and weights that it must find.
        caches: folder of the features, by default the run's own.
    """
    recipe = session.recipe
    tensorboard, track = arguments.tensorboard, arguments.track
    with (
        handle_run_failure(session),
        tracked(
            session.run, session.observer, tensorboard=tensorboard, track=track
        ) as session.observer,
    ):
        with session.phase("weights", describe_weights(recipe, arguments.weights)):
            stored = find_weights(session, arguments.weights, offline=offline)
        data = open_data(session, arguments, expected, offline=offline)
        with session.phase("model", session.backbone.name):
            network = build(session, len(data.catalog.class_names), stored)
            note_weights(session, network, stored, expected)
        learning = prepare_learning(Learning, session, network, data, caches or session.run.cache)
        learned = learning.run()
        with parity_process(session) as child:
            with session.phase("evaluation"):
                artifact, metrics = finish_run(learning, data, learned)
            sample = data.part("validation")
            export = export_run(session, artifact, sample, arguments.saved_models, child=child)
        session.seconds["total"] = sum(session.seconds.values())
        session.note(
            status="finished",
            model_digest=network.digest(),
            export=str(export.absolute()) if export else None,
            seconds={name: round(value, 3) for name, value in session.seconds.items()},
        )
    return FinetuneResult(session.run.folder, export, metrics, dict(session.seconds))
