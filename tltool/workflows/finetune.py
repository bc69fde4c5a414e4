"""Fine-tune a pretrained network on a folder of images. Start reading tltool here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.data.sources.python_data import as_source
from tltool.data.sources.source_cache import cache_folder
from tltool.events import Observer
from tltool.models.network_parts import Network
from tltool.recipe.from_python import recipe_of
from tltool.recipe.model_section import AUTO
from tltool.recipe.schema import Recipe
from tltool.runs.run_options import Device, RunOptions
from tltool.storage.durable import flush_tree
from tltool.training.keras_objects import NO_OBJECTS, KerasObjects, is_recipe_optimizer
from tltool.training.own_settings import with_own_settings
from tltool.workflows.choose_backbone import choose_backbone
from tltool.workflows.preflight.peers import check_peers
from tltool.workflows.preflight.run import check_budget, check_run
from tltool.workflows.resolve.export_name import export_name
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.training_run.calibration import calibrate
from tltool.workflows.training_run.class_balance import balance_classes
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.features import extract_features
from tltool.workflows.training_run.finish import evaluate_best
from tltool.workflows.training_run.lifecycle import run_context
from tltool.workflows.training_run.object_checks import check_objects
from tltool.workflows.training_run.peer_run import (
    check_peer_objects,
    check_same_result,
    check_same_start,
    peer_options,
)
from tltool.workflows.training_run.phases import (
    fine_tune,
    fit_probe,
    load_state,
    restore_best,
    train_head,
)
from tltool.workflows.training_run.python_backbone import recipe_with_backbone
from tltool.workflows.training_run.refit import refit
from tltool.workflows.training_run.run_fingerprint import RunFingerprint
from tltool.workflows.training_run.run_result import FinetuneResult
from tltool.workflows.training_run.setup import (
    build_network,
    fetch_weights,
    open_dataset,
)
from tltool.workflows.training_run.time_limit import record_spent_time, set_time_budget
from tltool.workflows.training_run.verified_export import export_verified, parity_process

if TYPE_CHECKING:
    import keras

__all__ = [
    "FinetuneResult",
    "finetune",
    "finetune_run",
    "finish_run",
    "start_run",
    "train_recipe",
]


def finetune_run(run: RunContext) -> FinetuneResult:
    """Do all of a run, or what is left of it."""
    weights = fetch_weights(run)
    dataset = open_dataset(run)  # list, audit, split
    network = build_network(run, weights, dataset)
    state = load_state(run, network)  # of an earlier process, where there was one
    check_same_start(run)
    features = extract_features(run, network, dataset)
    fit_probe(run, features, state)
    set_time_budget(run, network, dataset)
    features = features.with_views()  # the augmented ones, where features are cached
    balance = balance_classes(run, features.images, features.views)
    train_head(run, features, balance, state)
    fine_tune(run, features, balance, state)
    check_same_result(run, network.digest())
    if not run.writes:  # the first worker evaluates and exports
        return FinetuneResult(run.known_folder, None, {}, dict(run.seconds))
    outcome = restore_best(run, features, state)
    calibrated = calibrate(run, network, dataset, outcome)
    calibrated = refit(run, dataset, features, state, calibrated)  # if the recipe has one
    with parity_process(run) as child:
        artifact, metrics = evaluate_best(run, network, dataset, calibrated)
        export = export_verified(run, artifact, dataset, child)
    return finish_run(run, network, export, metrics)


def finetune(
    data: Any,
    *,
    recipe: Recipe | Mapping[str, Any] | Path | str = "vgg16",
    set: Mapping[str, Any] | None = None,
    backbone: keras.Model | Path | str | None = None,
    preprocessing: str | None = None,
    class_names: Sequence[str] | None = None,
    test: Path | str | None = None,
    out: Path | str | None = None,
    saved_models: Path | str = Path("saved_models"),
    weights: Path | str | None = None,
    offline: bool = False,
    device: Device = "auto",
    tensorboard: bool = True,
    track: Sequence[str] = (),
    register: str | None = None,
    feature_cache: Path | str | None = None,
    time_limit: float | None = None,
    corrections: Path | str | None = None,
    corrections_by: str | None = None,
    budget: float | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    loss: keras.losses.Loss | Callable[..., Any] | str | None = None,
    metrics: Sequence[keras.metrics.Metric | Callable[..., Any] | str] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
    augment: keras.layers.Layer | Callable[..., Any] | None = None,
    observer: Observer | None = None,
) -> FinetuneResult:
    """Train a classifier on ``data`` and export it.

    Args:
        data: a folder with one folder of images per class, or with train, val and test folders of
            such; or any other source: docs/data.md names them. Or images with labels as arrays, a
            ``tf.data.Dataset``, a sequence of batches or a pandas table of paths, see
            `tltool.data.sources.python_data.as_source`.
        recipe: what to do: the name or file of a recipe, its keys as a dictionary, or a recipe.
        set: values of single keys of the recipe, such as ``{"train.head.epochs": 5}``.
        backbone: instead of the recipe's: a name, the path of a Keras model without its head, or
            such a model. A model may hold only layers of Keras; it is copied into the run folder.
        preprocessing: what such a model expects of pixels, as ``model.preprocessing`` of a recipe:
            tf, tf128, torch, unit, lite, caffe, grey or none; None where it scales its input
            itself.
        class_names: names of the label numbers of arrays and datasets.
        test: a separate source of images opened only by the final evaluation.
        out: the run folder; by default runs/NAME-UTC. It must be empty or absent.
        saved_models: the model is exported to saved_models/NAME/VERSION.
        weights: a file of pretrained weights to use instead of the backbone's own.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        tensorboard: write event files into the run folder.
        track: where to log the run besides: mlflow, wandb.
        register: name of the registered model of MLflow that gets the exported model.
        feature_cache: a folder of features that several runs share; by default the run's own,
            which is removed at the end.
        time_limit: seconds after which the run is to be over: training ends early enough for
            evaluation and export, which take the best model so far. At least the probe is fitted,
            or one epoch is trained. The result then depends on the speed of the machine.
        corrections: a file of corrected labels, as `tltool review` writes it, applied to images of
            the same content; also to test images, which are counted apart.
        corrections_by: the person whose decision counts where people disagree in it.
        budget: seconds for the choice of the backbone, with ``model.backbone: auto``; by default
            two minutes.
        workers: processes on this machine that compute features, bit-identical; needs Ray.
        cluster: a running Ray cluster that does so instead: auto or HOST:PORT.
        optimizer: of Keras, by name or as an object, whose settings are copied; instead of that of
            the recipe. The learning rates are those of the recipe.
        loss: of Keras, by name or as an object, or a function of (labels, probabilities), float32
            [B, C] each, that returns one value for each row; instead of the cross-entropy.
        metrics: of Keras, by name or as objects, or functions: of the validation images after
            each epoch (``val_NAME`` in history.csv) and of the evaluated images at the end
            (``keras_metrics`` in metrics.json).
        callbacks: of Keras; docs/reference/keras.md has a table of the hooks.
        augment: a Keras layer, or a function from an image, float32 [H, W, 3] in 0..255, to such
            an image; instead of the augmentation of images by the recipe.
        observer: receives everything that is reported.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.

    Examples:
        >>> result = tltool.finetune("photos", recipe="quick", set={"train.probe.folds": 3})
        >>> result.export
        PosixPath('saved_models/photos/1')
        >>> result = tltool.finetune("photos", optimizer="nadam", metrics=["f1_score"])
    """
    if is_recipe_optimizer(optimizer):
        set, optimizer = {**(set or {}), "train.optimizer": str(optimizer).lower()}, None
    objects = KerasObjects(optimizer, loss, metrics, callbacks, augment)
    options = RunOptions(
        as_source(data, class_names=class_names, cache=cache_folder()),
        test=str(test) if test else None,
        out=Path(out) if out else None,
        saved_models=Path(saved_models),
        weights=Path(weights) if weights else None,
        offline=offline,
        device=device,
        tensorboard=tensorboard,
        track=tuple(track),
        register=register,
        feature_cache=Path(feature_cache) if feature_cache else None,
        time_limit=time_limit,
        corrections=Path(corrections) if corrections else None,
        corrections_by=corrections_by,
        workers=workers,
        cluster=cluster,
    )
    with recipe_with_backbone(recipe_of(recipe, set), backbone, preprocessing) as changed:
        return train_recipe(changed, options, budget=budget, observer=observer, objects=objects)


def train_recipe(
    recipe: Recipe,
    options: RunOptions,
    *,
    budget: float | None = None,
    observer: Observer | None = None,
    objects: KerasObjects = NO_OBJECTS,
) -> FinetuneResult:
    """Choose the backbone where the recipe leaves it open, then do a new run.

    Args:
        recipe: what to do.
        options: what the run is called with.
        budget: seconds for the choice of the backbone, with ``model.backbone: auto``.
        observer, objects: as ``start_run`` takes them.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    check_budget(recipe, budget)
    if recipe.model.backbone != AUTO:
        return start_run(resolve(recipe), options, observer=observer, objects=objects)
    choice = choose_backbone(recipe, options, budget=budget, observer=observer)
    options = replace(
        options,
        seconds_before=options.seconds_before + choice.seconds,
        export_name=export_name(recipe, options),
    )
    spec = resolve(choice.recipe)
    return start_run(spec, options, observer=observer, choice=choice.to_json(), objects=objects)


@with_own_settings
def start_run(
    spec: RunSpec,
    options: RunOptions,
    *,
    observer: Observer | None = None,
    expected: RunFingerprint | None = None,
    choice: Mapping[str, Any] | None = None,
    objects: KerasObjects = NO_OBJECTS,
) -> FinetuneResult:
    """Check everything that needs no image and no network, then do a new run.

    Args:
        spec: the resolved recipe.
        options: what the run is called with.
        observer: receives everything that is reported.
        expected: data and weights of an earlier run that this one must find again.
        choice: how the backbone was chosen, for manifest.json; None if the recipe names it.
        objects: what a Python program gives to training.

    Raises:
        UsageError, DataError, GateError, EnvironmentProblem: see `tltool.errors`.
    """
    check_run(spec, options)
    peers = check_peers(spec, options)
    check_objects(spec, objects)
    check_peer_objects(peers, objects)
    with (
        peer_options(peers, options) as options,
        run_context(
            spec, options, observer=observer, expected=expected, objects=objects, peers=peers
        ) as run,
    ):
        if choice:
            run.record(replace(run.manifest, backbone_choice=choice))
        return finetune_run(run)


def finish_run(
    run: RunContext, network: Network, export: Path | None, metrics: Mapping[str, Any]
) -> FinetuneResult:
    """Record the end of a run."""
    run.seconds["total"] = sum(run.seconds.values())
    record_spent_time(run)
    flush_tree(run.layout.folder)  # a power cut must not leave "finished" without the results
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
