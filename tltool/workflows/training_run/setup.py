"""The start of a training run: weights, images, network."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from tltool.evaluation.metrics.asserts import check_asserts, check_sample_sizes
from tltool.features.image_source import ImageSource
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.recipe.schema import Recipe
from tltool.weights.fetch_weights import obtain
from tltool.weights.weights_store import StoredWeights
from tltool.workflows.dataset.dataset import Dataset, load_dataset, write_dataset
from tltool.workflows.resolve import specs
from tltool.workflows.training_run.augmentation import choose_augmentation
from tltool.workflows.training_run.cache_choice import choose_cache_mode
from tltool.workflows.training_run.class_balance import hint_at_imbalance
from tltool.workflows.training_run.context import RunOptions, Session
from tltool.workflows.training_run.fingerprint import RunFingerprint
from tltool.workflows.training_run.trainer import Learning

Kind = TypeVar("Kind", bound=Learning)


def describe_weights(recipe: Recipe, given: Path | None) -> str:
    """Return backbone and source of its weights, for the user."""
    return f"{recipe.model.backbone}, {given or recipe.model.weights}"


def find_weights(
    session: Session, given: Path | None, *, offline: bool
) -> StoredWeights | Path | None:
    """Return the pretrained weights that the recipe wants, fetched when they are not stored."""
    wanted = session.recipe.model.weights
    if given is not None:
        return given
    if wanted == "random":
        return None
    if wanted != "imagenet":
        return Path(wanted)
    return obtain(session.backbone.name, offline=offline, observer=session.observer)


def build(session: Session, classes: int, stored: StoredWeights | Path | None) -> Network:
    """Return the untrained classifier.

    Raises:
        UsageError: the recipe asks what this network at this image size cannot do.
    """
    recipe, backbone = session.recipe, session.backbone
    spec, kind = specs.decode_spec(recipe, backbone), specs.head_kind(recipe, backbone)
    with session.machine.strategy.scope(), session.machine.precision.building():
        model = build_model(
            backbone,
            image_size=(spec.height, spec.width),
            classes=classes,
            head=kind,
            dropout=specs.head_dropout(recipe, backbone),
            hidden_units=recipe.model.head.hidden_units,
            norm=recipe.model.head.norm,
            weights=stored.path if isinstance(stored, StoredWeights) else stored,
            seed=recipe.seed,
            train_batch_norm=recipe.model.batch_norm == "train",
            drops=specs.drops(recipe),
            groups=recipe.model.norm_groups,
            regularization=specs.regularization(recipe),
        )
    return Network(model, backbone, kind)


def prepare_learning(
    kind: type[Kind], session: Session, network: Network, data: Dataset, caches: Path
) -> Kind:
    """Return everything that ``kind`` of learning needs, the choice of the cache made."""
    recipe, backbone = session.recipe, session.backbone
    decode = specs.decode_spec(recipe, backbone)
    hint_at_imbalance(session, data.part("train").counts())
    train = data.source("train", decode=decode, batch_size=recipe.train.batch_size)
    blocks = data.blocks(decode=decode, batch_size=recipe.train.batch_size)
    held = data.source("validation", decode=decode, batch_size=recipe.train.batch_size)
    stage = specs.first_trained_stage(recipe, backbone)
    if "cached" not in session.facts:  # the choice rests on timings: it is made once
        choice = choose_cache_mode(session, network, stage=stage, train=len(train), held=len(held))
        session.note(cached=choice)
    cached = session.facts["cached"]
    augment = choose_augmentation(session, train.items, cached=cached)
    names = data.catalog.class_names
    return kind(session, network, train, blocks, held, names, augment, stage, cached, caches)


def test_part(learning: Learning, data: Dataset) -> ImageSource | None:
    """Return the test part, None without one."""
    if len(data.split.indices("test")) == 0:
        return None
    return data.source("test", decode=learning.train.decode, batch_size=learning.train.batch_size)


def note_weights(
    session: Session,
    network: Network,
    stored: StoredWeights | Path | None,
    expected: RunFingerprint | None,
) -> None:
    """Note what training starts from; refuse other weights than those expected."""
    digest = network.digest()
    if expected:
        expected.check_weights(digest)
    weights = {"source": "random"} if stored is None else {"source": str(stored)}
    if isinstance(stored, StoredWeights):
        weights = {"source": stored.source, "sha256": stored.sha256, "licence": stored.licence}
    backbone = session.backbone
    session.note(
        weights=weights,
        weights_digest=digest,
        backbone={"name": backbone.name, "preprocessing": backbone.preprocessing},
    )


def open_data(
    session: Session, arguments: RunOptions, expected: RunFingerprint | None, *, offline: bool
) -> Dataset:
    """Audit and divide the images; refuse others than those expected, and unknown classes.

    Raises:
        UsageError: a condition of the recipe names a class that the images do not have, or is to
            hold strictly with too few images.
    """
    recipe, test = session.recipe, arguments.test
    with session.phase("audit", arguments.photos):
        data = load_dataset(
            arguments.photos,
            test=test,
            settings=recipe.data,
            seed=recipe.seed,
            offline=offline,
            observer=session.observer,
        )
        if expected:
            expected.check_data(data.catalog)
        check_asserts(recipe.evaluate.asserts, data.catalog.class_names)
        if recipe.evaluate.strict:
            measured_on = data.part("test" if len(data.split.indices("test")) else "validation")
            check_sample_sizes(recipe.evaluate.asserts, measured_on.counts())
        write_dataset(session.run, data)
        session.note(data_digest=data.catalog.digest(), photos=len(data.catalog))
    return data
