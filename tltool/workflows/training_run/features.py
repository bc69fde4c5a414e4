"""What the phases train on: features that are cached, or images that are read in every epoch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TypeAlias

from tltool.features.extract import Extractor
from tltool.features.joined_features import joined
from tltool.models.batch_norm_folding import folding_version
from tltool.models.network_parts import Network
from tltool.training.outcome import PretrainedFeatures
from tltool.training.validation import HeadLogits, Pooling
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.cache_choice import choose_cache_mode
from tltool.workflows.training_run.cached_features import CachedFeatures
from tltool.workflows.training_run.choose_augmentation import choose_augmentation
from tltool.workflows.training_run.class_balance import hint_at_imbalance
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.feature_cache import FeatureCache
from tltool.workflows.training_run.live_features import LiveFeatures
from tltool.workflows.training_run.pretrained_backbone import PretrainedBackbone
from tltool.workflows.training_run.training_inputs import TrainingImages, TrainingInputs

TrainingFeatures: TypeAlias = CachedFeatures | LiveFeatures


def extract_features(run: RunContext, network: Network, dataset: Dataset) -> TrainingFeatures:
    """Return what the phases train on, with the features of the original images.

    Whether features are cached is chosen here, and how training images are augmented.

    Raises:
        EnvironmentProblem: the disk has no room for the features.
    """
    hint_at_imbalance(run, dataset.part("train").counts())
    images = _training_images(run, dataset)
    cached = choose_cache_mode(run, network, images)
    augment = choose_augmentation(run, images.train.items, cached=cached)
    key = (
        network.head,
        str(run.spec.first_trained_stage),
        network.digest(head=False),
        *folding_version(network.images_to_pooled),
        *([network.backbone.identity] if network.backbone.file else []),
    )
    cache = FeatureCache(run, augment, key, run.options.feature_cache or run.layout.cache)
    head = HeadLogits(network.pooled_to_logits)
    inputs = TrainingInputs(
        run, network, images, augment, cache, head, _original_backbone(run, network, dataset)
    )
    return _extract_cached(inputs) if cached else _extract_live(inputs)


def _original_backbone(
    run: RunContext, network: Network, dataset: Dataset
) -> PretrainedBackbone | None:
    """Return the backbone as it is now, where the probe will be evaluated on test images."""
    if not run.recipe.train.probe.enabled or not len(dataset.split.indices("test")):
        return None
    return PretrainedBackbone(network, run.spec.first_trained_stage, run.machine.precision)


def _training_images(run: RunContext, dataset: Dataset) -> TrainingImages:
    decode, batch_size, gpu = run.spec.decode, run.recipe.train.batch_size, run.machine.gpu
    train = dataset.source("train", decode=decode, batch_size=batch_size)
    folds = dataset.train_folds(decode=decode, batch_size=batch_size)
    return TrainingImages(
        train=replace(train, augment_on_gpu=gpu),
        train_groups=dataset.groups("train"),
        folds={number: replace(fold, augment_on_gpu=gpu) for number, fold in folds.items()},
        validation=dataset.source("validation", decode=decode, batch_size=batch_size),
        validation_groups=dataset.groups("validation"),
        class_names=dataset.catalog.class_names,
    )


def _extract_cached(inputs: TrainingInputs) -> CachedFeatures:
    run, network, images = inputs.run, inputs.network, inputs.images
    stage = run.spec.first_trained_stage
    cut = network.cut(stage) if stage else None
    extractor = Extractor(network.images, network.pooled, cut)
    original = partial(inputs.cache.original, extractor)
    with run.phase("features", f"{len(images.validation)} validation images"):
        validation = original(images.validation)
    with run.phase("features", f"{len(images.train)} training images, original"):
        train = joined([original(fold) for fold in images.folds.values()])
    return CachedFeatures(
        **vars(inputs), extractor=extractor, original=train, validation=validation
    )


def _extract_live(inputs: TrainingInputs) -> LiveFeatures:
    run, network, images = inputs.run, inputs.network, inputs.images
    to_pooled = Pooling(network.images_to_pooled, run.machine.precision)
    pretrained = None
    if run.recipe.train.probe.enabled:
        extractor = Extractor(network.images, network.pooled, None)
        with run.phase("features", "for the probe"):
            validation = inputs.cache.original(extractor, images.validation)
            train = inputs.cache.original(extractor, images.train)
        pretrained = PretrainedFeatures(train.pooled, validation.pooled)
    return LiveFeatures(**vars(inputs), to_pooled=to_pooled, pretrained=pretrained)
