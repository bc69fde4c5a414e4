"""Fine-tune a pretrained network on a folder of images. Start reading tltool here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tltool.events import Observer
from tltool.models.network_parts import Network
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.run_options import Device, RunOptions
from tltool.workflows.preflight.run import check_run
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.training_run.class_balance import balance_classes
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.export import export_verified, parity_process
from tltool.workflows.training_run.features import extract_features
from tltool.workflows.training_run.fingerprint import RunFingerprint
from tltool.workflows.training_run.finish import evaluate_best
from tltool.workflows.training_run.lifecycle import run_context
from tltool.workflows.training_run.phases import (
    fine_tune,
    fit_probe,
    load_state,
    restore_best,
    train_head,
)
from tltool.workflows.training_run.setup import build_network, fetch_weights, open_dataset


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


def finetune_run(run: RunContext) -> FinetuneResult:
    """Do all of a run, or what is left of it."""
    weights = fetch_weights(run)
    dataset = open_dataset(run)  # list, audit, split
    network = build_network(run, weights, dataset)
    state = load_state(run, network)  # of an earlier process, where there was one
    features = extract_features(run, network, dataset)
    fit_probe(run, features, state)
    features = features.with_views()  # the augmented ones, where features are cached
    balance = balance_classes(run, features.images, features.views)
    train_head(run, features, balance, state)
    fine_tune(run, features, balance, state)
    outcome = restore_best(run, features, state)
    with parity_process(run) as child:
        artifact, metrics = evaluate_best(run, network, dataset, outcome)
        export = export_verified(run, artifact, dataset, child)
    return _finish(run, network, export, metrics)


def finetune(
    data: Path | str,
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
    feature_cache: Path | None = None,
    observer: Observer | None = None,
) -> FinetuneResult:
    """Train a classifier on ``data`` and export it.

    Args:
        data: a folder with one folder of images per class, or with train, val and test folders of
            such; or any other source: docs/data.md names them.
        recipe: what to do: a recipe, or the name or file of one.
        test: a separate source of images opened only by the final evaluation.
        out: the run folder; by default runs/<name>-<UTC>. It must be empty or absent.
        saved_models: the export goes to <saved_models>/<name>/<version>.
        weights: a file of pretrained weights to use instead of the backbone's own.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        tensorboard: write event files into the run folder.
        track: where to log the run besides: mlflow.
        feature_cache: a folder of features that several runs share; by default the run's own,
            which is removed at the end.
        observer: receives everything that is reported.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    options = RunOptions(
        str(data),
        test=str(test) if test else None,
        out=out,
        saved_models=saved_models,
        weights=weights,
        offline=offline,
        device=device,
        tensorboard=tensorboard,
        track=tuple(track),
        feature_cache=feature_cache,
    )
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    return start_run(resolve(recipe), options, observer=observer)


def start_run(
    spec: RunSpec,
    options: RunOptions,
    *,
    observer: Observer | None = None,
    expected: RunFingerprint | None = None,
) -> FinetuneResult:
    """Check everything that needs no image and no network, then do a new run.

    Args:
        spec: the resolved recipe.
        options: what the run is called with.
        observer: receives everything that is reported.
        expected: data and weights of an earlier run that this one must find again.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    check_run(spec, options)
    with run_context(spec, options, observer=observer, expected=expected) as run:
        return finetune_run(run)


def _finish(
    run: RunContext, network: Network, export: Path | None, metrics: Mapping[str, Any]
) -> FinetuneResult:
    """Record the end of a run."""
    run.seconds["total"] = sum(run.seconds.values())
    run.record(
        replace(
            run.manifest,
            status="finished",
            model_digest=network.digest(),
            export=str(export.absolute()) if export else None,
            seconds={name: round(value, 3) for name, value in run.seconds.items()},
        )
    )
    return FinetuneResult(run.layout.folder, export, metrics, dict(run.seconds))
