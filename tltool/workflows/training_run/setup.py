"""The start of a training run: weights, images, network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tltool.data.catalog import SplitName
from tltool.evaluation.metrics.asserts import check_asserts, check_sample_sizes
from tltool.evaluation.shared_test_set import digest_of_images
from tltool.models.build import build_model
from tltool.models.head_parts import DropoutSettings
from tltool.models.network_parts import Network
from tltool.weights.fetch_weights import obtain
from tltool.weights.weights_store import StoredWeights
from tltool.workflows.dataset.dataset import Dataset, load_dataset, write_dataset
from tltool.workflows.training_run.context import RunContext

Weights = StoredWeights | Path | None  # None for random ones


def fetch_weights(run: RunContext) -> Weights:
    """Return the pretrained weights of the run, downloaded when they are not stored.

    Raises:
        EnvironmentProblem: they cannot be had.
    """
    model, options = run.recipe.model, run.options
    with run.phase("weights", f"{model.backbone}, {options.weights or model.weights}"):
        if options.weights is not None:
            return options.weights
        if model.weights == "random":
            return None
        if model.weights != "imagenet":
            return Path(model.weights)
        return obtain(run.spec.backbone.name, offline=options.offline, observer=run.observer)


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
        )
        catalog = dataset.catalog
        if run.expected:
            run.expected.check_data(catalog)
        check_asserts(recipe.evaluate.asserts, catalog.class_names)
        if recipe.evaluate.strict:
            part: SplitName = "test" if len(dataset.split.indices("test")) else "validation"
            check_sample_sizes(recipe.evaluate.asserts, dataset.part(part).counts())
        write_dataset(run.layout, dataset)
        test = digest_of_images(item.sha256 for item in dataset.part("test").items)
        digest, images = catalog.digest(), len(catalog)
        run.record(replace(run.manifest, data_digest=digest, images=images, test_digest=test))
    return dataset


def build_network(run: RunContext, weights: Weights, dataset: Dataset) -> Network:
    """Return the classifier before training. Its weights are recorded in the manifest.

    Raises:
        UsageError: the recipe asks what this network at this image size cannot do.
        EnvironmentProblem: the weights are not those that the run must find again.
    """
    with run.phase("model", run.spec.backbone.name):
        network = _network(run, weights, len(dataset.catalog.class_names))
        _record_weights(run, network, weights)
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
            backbone={"name": backbone.name, "preprocessing": backbone.preprocessing},
        )
    )
