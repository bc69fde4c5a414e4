"""The start of a training run: weights, images, network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tltool.data.catalog import SplitName
from tltool.evaluation.metrics.asserts import check_asserts, check_sample_sizes
from tltool.evaluation.shared_test_set import digest_of_images
from tltool.models.build import build_model, check_weights
from tltool.models.head_parts import DropoutSettings
from tltool.models.network_parts import Network
from tltool.runs.digests import file_digest
from tltool.training.agreement import agree
from tltool.training.precision import recorded_precision
from tltool.training.precision_choice import measured_precision
from tltool.weights.fetch_weights import obtain
from tltool.weights.weights_store import StoredWeights
from tltool.workflows.dataset.dataset import (
    Dataset,
    corrected_labels,
    load_dataset,
    write_dataset,
)
from tltool.workflows.dataset.image_size import fit_image_size
from tltool.workflows.resolve.run_backbone import recorded_backbone
from tltool.workflows.resolve.run_corrections import corrections_of
from tltool.workflows.training_run.context import RunContext

Weights = StoredWeights | Path | None  # None for random ones


def fetch_weights(run: RunContext) -> Weights:
    """Return the pretrained weights of the run, downloaded when they are not stored.

    Raises:
        UsageError: a file of weights does not fit the backbone.
        EnvironmentProblem: they cannot be had.
    """
    model, options = run.recipe.model, run.options
    with run.phase("weights", f"{model.backbone}, {options.weights or model.weights}"):
        if options.weights is not None:
            return _fitting(run, options.weights)
        if model.weights == "random":
            return None
        if model.weights != "imagenet":
            return _fitting(run, Path(model.weights))
        if run.spec.backbone.file:
            return run.spec.backbone.file.path
        return obtain(run.spec.backbone.name, offline=options.offline, observer=run.observer)


def _fitting(run: RunContext, file: Path) -> Path:
    """Return a file of weights after checking that it fits: long before the network is built."""
    decode = run.spec.decode
    check_weights(run.spec.backbone, (decode.height, decode.width), file)
    return file


def open_dataset(run: RunContext) -> Dataset:
    """Return the images: listed, audited and split. They are recorded in the run folder.

    Raises:
        UsageError: a condition of the recipe names a class that the images do not have, or is to
            hold strictly with too few images.
        DataError: the images cannot be used, or are not those that the run must find again.
    """
    recipe, options = run.recipe, run.options
    with run.phase("audit", options.data):
        dataset = load_dataset(
            options.data,
            test=options.test,
            settings=recipe.data,
            seed=recipe.seed,
            offline=options.offline,
            observer=run.observer,
            corrections=corrections_of(options, run.layout),
        )
        catalog = dataset.catalog
        run.items = catalog.items
        run.spec = fit_image_size(run.spec, dataset, run.observer)
        if run.expected:
            run.expected.check_data(catalog)
        check_asserts(recipe.evaluate.asserts, catalog.class_names)
        if recipe.evaluate.strict:
            part: SplitName = "test" if len(dataset.split.indices("test")) else "validation"
            check_sample_sizes(recipe.evaluate.asserts, dataset.part(part).counts())
        write_dataset(run.layout, dataset)
        test = digest_of_images(dataset.part("test").columns.digests())
        digest, images = catalog.digest(), len(catalog)
        corrected = _recorded_corrections(run, dataset)
        run.record(
            replace(
                run.manifest,
                data_digest=digest,
                images=images,
                corrections=corrected,
                test_digest=test,
            )
        )
    return dataset


def _recorded_corrections(run: RunContext, dataset: Dataset) -> dict[str, Any] | None:
    """Return what manifest.json says about corrections of labels."""
    corrected, file = dataset.audit.corrected, run.layout.corrections
    if corrected is None or not file.is_file():  # a search for learning rates keeps nothing
        return None
    return {
        "file": str(run.options.corrections),
        "sha256": file_digest(file),
        "relabelled": corrected_labels(dataset),
        "excluded": len(corrected.excluded),
        "not_applied": len(corrected.gone) + len(corrected.stale),
    }


def build_network(run: RunContext, weights: Weights, dataset: Dataset) -> Network:
    """Return the classifier before training. Its weights are recorded in the manifest.

    Raises:
        UsageError: the recipe asks what this network at this image size cannot do.
        EnvironmentProblem: the weights are not those that the run must find again.
    """
    with run.phase("model", run.spec.backbone.name):
        network = _network(run, weights, len(dataset.catalog.class_names))
        _record_weights(run, network, weights)
        if network.backbone.file:
            run.observer.on_message(_own_summary(network))
        _settle_precision(run, network)
    return network


def _network(run: RunContext, weights: Weights, classes: int) -> Network:
    spec, model = run.spec, run.recipe.model
    head = spec.head
    with run.machine.strategy.scope(), run.machine.precision.building():
        built = build_model(
            spec.backbone,
            image_size=(spec.decode.height, spec.decode.width),
            classes=classes,
            head=head.kind,
            dropout=head.dropout,
            hidden_units=head.hidden_units,
            norm=head.norm,
            weights=weights.path if isinstance(weights, StoredWeights) else weights,
            seed=run.recipe.seed,
            train_batch_norm=model.batch_norm == "train",
            dropout_settings=DropoutSettings(head.dropout_kind, head.attention_dropout),
            groups=model.norm_groups,
            regularization=spec.regularization,
        )
    return Network(built, spec.backbone, head.kind)


def _own_summary(network: Network) -> str:
    """Return the stages and the preprocessing of a backbone of the user's own."""
    backbone, file = network.backbone, network.backbone.file
    sides = file.sides if file else ()
    stages = ", ".join(
        f"{stage.name} {side}x{side}x{stage.channels}"
        for stage, side in zip(backbone.stages, sides, strict=True)
    )
    scaling = (
        "none: pixels 0 to 255" if backbone.preprocessing == "none" else backbone.preprocessing
    )
    return f"stages of {backbone.name}: {stages}; preprocessing {scaling}"


def _settle_precision(run: RunContext, network: Network) -> None:
    """Choose the arithmetic by measurement where nothing has decided it, and record it.

    A run that another version began keeps the arithmetic that its processor supports.
    """
    machine, before = run.machine, run.expected
    decided = before and (before.precision or before.weights_digest)
    if run.recipe.train.precision == "auto" and not machine.gpu and not decided:
        measured = measured_precision(network).arithmetic
        chosen = recorded_precision(agree(machine.strategy, measured), gpu=False)
        if chosen != machine.precision:
            run.machine = machine = replace(machine, precision=chosen)
            run.observer.on_message(
                f"{network.backbone.name} is faster in {chosen.arithmetic} on this processor"
            )
    arithmetic = machine.precision.arithmetic
    run.record(replace(run.manifest, precision=arithmetic, device=machine.summary))


def _record_weights(run: RunContext, network: Network, weights: Weights) -> None:
    digest = network.digest()
    if run.expected:
        run.expected.check_weights(digest)
    origin = {"source": "random" if weights is None else str(weights)}
    if isinstance(weights, StoredWeights):
        origin = {"source": weights.source, "sha256": weights.sha256, "licence": weights.licence}
    backbone = run.spec.backbone
    run.record(
        replace(
            run.manifest,
            weights=origin,
            weights_digest=digest,
            backbone=recorded_backbone(backbone),
        )
    )
