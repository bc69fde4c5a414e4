"""Take back the network of a run that was trained on in plain Keras, as a run of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from tltool.artifact import load_artifact
from tltool.data.splits.split import read_split
from tltool.errors import DataError, UsageError
from tltool.events import Observer
from tltool.features.image_source import ImageSource
from tltool.models.network_parts import Network
from tltool.recipe.load import read_recipe
from tltool.runs.layout import RunLayout, check_run_folder
from tltool.runs.manifest import Manifest, read_manifest
from tltool.runs.run_options import Device, RunOptions
from tltool.training.ood import MAX_IMAGES
from tltool.training.outcome import TrainingOutcome
from tltool.training.own_settings import with_own_settings
from tltool.training.validation import HeadLogits, Pooling, loss_and_accuracy
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.finetune import FinetuneResult, finish_run
from tltool.workflows.preflight.reproduction import check_finished, check_places
from tltool.workflows.resolve.run_backbone import with_kept_backbone
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.training_run.calibration import calibrate
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.finish import evaluate_best
from tltool.workflows.training_run.lifecycle import run_context
from tltool.workflows.training_run.run_fingerprint import RunFingerprint
from tltool.workflows.training_run.setup import open_dataset
from tltool.workflows.training_run.verified_export import export_verified, parity_process

PHASE = "adopted"
_SAMPLES = 4
_TOLERANCE = 1e-3  # of the largest logit; the arithmetic of two computations of one network


@with_own_settings
def adopt(
    model: keras.Model,
    *,
    run: Path | str,
    data: Path | str | None = None,
    test: Path | str | None = None,
    out: Path | None = None,
    saved_models: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    observer: Observer | None = None,
) -> FinetuneResult:
    """Make a new run of a network that was trained on outside of tltool.

    The network is calibrated, evaluated and exported on the images and with the split of ``run``,
    as at the end of `tltool.finetune`. The folder of ``run`` is only read. The figures hold only if
    the network was not trained on the validation and test images of ``run``, which its split.csv
    lists.

    Args:
        model: what ``tltool.load(run).keras_model`` returned, with other weights: images float32
            [B, H, W, 3] in 0..255 to logits float32 [B, C].
        run: the run that the network comes from.
        data: the new location of the images, if they were moved.
        test: the new location of the separate test source, if it was moved.
        out: the new run folder; by default runs/NAME-UTC. It must be empty or absent.
        saved_models: the model is exported to saved_models/NAME/VERSION, if the recipe of ``run``
            exports; by default where ``run`` exported to, as its next version.
        offline: open no network connection.
        device: auto uses GPUs where TensorFlow sees any.
        observer: receives everything that is reported.

    Raises:
        UsageError: ``model`` is not the network of ``run``, or has weights that are not finite;
            or ``run`` is not finished, or was refitted on its validation images.
        DataError: the images are not those of ``run``.
        GateError: the network does not meet the conditions of the recipe.
        EnvironmentProblem: see `tltool.errors`.

    Examples:
        >>> network = tltool.load("runs/photos").keras_model
        >>> network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> network.fit(images, labels)
        >>> result = tltool.adopt(network, run="runs/photos")
    """
    layout = RunLayout(Path(run))
    first = read_manifest(layout.manifest)
    _check_source_run(layout, first)
    spec = _spec(layout, first)
    options = RunOptions(
        str(data or first.options.data),
        test=str(test) if test else first.options.test,
        out=out,
        saved_models=saved_models or first.options.saved_models,
        export_name=first.options.export_name,
        offline=offline,
        device=device,
        tensorboard=False,
    )
    check_places(options)
    check_run_folder(out)
    network = _with_weights_of(model, layout.folder)
    with run_context(
        spec, options, observer=observer, expected=_fingerprint(layout, first)
    ) as context:
        _record_origin(context, layout, first)
        return _adopt(context, network, layout)


def _adopt(run: RunContext, network: Network, layout: RunLayout) -> FinetuneResult:
    """Calibrate, evaluate and export a trained network."""
    dataset = open_dataset(run)
    _check_same_split(dataset, layout)
    run.observer.on_message(
        f"the network of {layout.folder} is evaluated as it was given; the figures hold only if it "
        "was not trained on the validation and test images of that run"
    )
    calibrated = calibrate(run, network, dataset, _outcome(run, network, dataset))
    with parity_process(run) as child:
        artifact, metrics = evaluate_best(run, network, dataset, calibrated)
        export = export_verified(run, artifact, dataset, child)
    return finish_run(run, network, export, metrics)


def _check_source_run(layout: RunLayout, first: Manifest) -> None:
    """Check that there is a run whose validation images are left for calibration.

    Raises:
        UsageError: there is none.
    """
    check_finished(layout.folder, first.status)
    if first.refit is not None:
        raise UsageError(
            f"the run '{layout.folder}' was refitted on its validation images, so that no images "
            "are left to calibrate and evaluate the network on",
            hint="train it without refit, set={'train.refit': 'off'}, and go on from that run",
        )


def _spec(layout: RunLayout, first: Manifest) -> RunSpec:
    """Return the resolved recipe of the run; class frequencies are those of the new training."""
    recipe = read_recipe(str(layout.recipe)).recipe(
        ["train.refit=off", "evaluate.prior_correction=false"]
    )
    return resolve(with_kept_backbone(recipe, layout, first))


def _fingerprint(layout: RunLayout, first: Manifest) -> RunFingerprint:
    return RunFingerprint(
        purpose="adopt the network of",
        data_digest=first.data_digest,
        rows=read_split(layout.split),
        weights_digest=None,
        in_order=False,
        precision=first.precision,
    )


def _record_origin(run: RunContext, layout: RunLayout, first: Manifest) -> None:
    origin = {"run": str(layout.folder.absolute()), "model_digest": str(first.model_digest)}
    run.record(
        replace(
            run.manifest,
            adopted_from=origin,
            weights=first.weights,
            weights_digest=first.weights_digest,
            backbone=first.backbone,
            precision=run.machine.precision.arithmetic,
        )
    )


def _check_same_split(dataset: Dataset, layout: RunLayout) -> None:
    """Check that no validation or test image was a training image of the run.

    Raises:
        DataError: the images are divided in another way.
    """
    before = {row.sha256: row.split for row in read_split(layout.split)}
    names = zip(dataset.catalog.items, dataset.split.names, strict=True)
    if any(before.get(item.sha256) != name for item, name in names):
        raise DataError(
            f"the images are not divided into training, validation and test images as in "
            f"'{layout.split}'",
            hint="use the version of tltool that wrote the run",
        )


def _with_weights_of(model: keras.Model, folder: Path) -> Network:
    """Return the network of a run with the weights of ``model``, which is left as it is.

    Raises:
        UsageError: ``model`` is another network, or its weights are not finite.
    """
    network = load_artifact(folder).network
    hint = f"give what tltool.load('{folder}').keras_model returns, with other weights alone"
    if not isinstance(model, keras.Model):
        raise UsageError(f"the model is of type {type(model).__name__}", hint=hint)
    weights = model.get_weights()
    if [one.shape for one in weights] != [one.shape for one in network.model.get_weights()]:
        raise UsageError(
            f"the model is not the network of '{folder}': it has other layers", hint=hint
        )
    if not all(np.isfinite(one).all() for one in weights):
        raise UsageError(
            "the model has weights that are not finite: its training diverged",
            hint="train it again with a lower learning rate",
        )
    network.model.set_weights(weights)
    shape = (_SAMPLES, *network.model.input_shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    expected, given = (np.asarray(one(images, training=False)) for one in (network.model, model))
    largest = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if expected.shape != given.shape or not np.allclose(expected, given, rtol=0, atol=largest):
        raise UsageError(
            f"the model is not the network of '{folder}': with the same weights it gives other "
            "outputs, such as probabilities instead of logits",
            hint=hint,
        )
    return network


def _outcome(run: RunContext, network: Network, dataset: Dataset) -> TrainingOutcome:
    """Return features and logits of the network; there was no probe, and one state."""
    to_pooled = Pooling(network.images_to_pooled, run.machine.precision)
    decode, batch_size = run.spec.decode, run.recipe.train.batch_size
    validation = dataset.source("validation", decode=decode, batch_size=batch_size)
    some = dataset.source("train", decode=decode, batch_size=batch_size).spread(MAX_IMAGES)

    def pooled(source: ImageSource) -> np.ndarray:
        return np.concatenate([to_pooled(images) for _, images, _ in source.original()])

    with run.phase("features", f"{len(validation)} validation images"):
        features = pooled(validation)
    logits = HeadLogits(network.pooled_to_logits)(features)
    measures = loss_and_accuracy(logits, validation.labels)
    return TrainingOutcome(
        features,
        logits,
        lambda: (pooled(some), some.labels),
        pretrained=None,
        probe=None,
        probe_logits=None,
        pretrained_pooled=None,
        history=[{"phase": PHASE, "epoch": 0, **measures}],
        best=(PHASE, 0),
        best_row=0,
    )
