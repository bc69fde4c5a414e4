"""Shared by several benchmarks: images, networks, and one phase of training."""

import os
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tltool.augment.spec import AugmentSpec, FeatureSpec
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.data.sources.folders.folder import read_folder
from tltool.events import SilentObserver
from tltool.features.image_source import ImageSource
from tltool.features.sampler import Sampler
from tltool.models.backbone_registry import get_backbone
from tltool.models.build import build_model
from tltool.models.network_parts import Network
from tltool.recipe.load import load_recipe
from tltool.training.early_stopping import BestModel
from tltool.training.live_phase import live_data
from tltool.training.optimizers import Group
from tltool.training.phase_plan import AugmentationSchedule, PhaseData
from tltool.training.precision import FLOAT32, Precision
from tltool.training.training_loop import Trainer
from tltool.training.validation import HeadLogits, Pooling
from tltool.workflows.training_run.phase_plans import phase_plan

SIDE = 224


def hymenoptera(count: int, *, batch_size: int = 32) -> ImageSource:
    """Return about ``count`` training images of hymenoptera in TLTOOL_TEST_DATA."""
    folder = Path(os.environ["TLTOOL_TEST_DATA"]) / "hymenoptera"
    items = [item for item in read_folder(folder).items if item.given_split == "train"]
    items = items[:: max(1, len(items) // count)][:count]
    labels = np.array([int(item.label == "bees") for item in items])
    return ImageSource(items, labels, 2, DecodeSpec(SIDE, SIDE, "crop"), batch_size)


def network(name: str, *, side: int = SIDE, precision: Precision = FLOAT32) -> Network:
    """Return a classifier of two classes with random weights; its speed is that of any weights."""
    backbone = get_backbone(name)
    with precision.building():
        model = build_model(
            backbone,
            image_size=(side, side),
            classes=2,
            head="gap",
            dropout=0.2,
            hidden_units=1,
            norm="none",
            weights=None,
            seed=0,
        )
    return Network(model, backbone, "gap")


def schedule(spec: AugmentSpec) -> AugmentationSchedule:
    """Return augmentation of images alone, in every epoch."""
    return AugmentationSchedule(spec, FeatureSpec(), mixed_epochs=99)


def live_phase(
    net: Network, train: ImageSource, augment: AugmentSpec, precision: Precision
) -> PhaseData:
    """Return a phase without cache that is validated on its training images."""
    return live_data(
        train,
        train,
        augmentation=schedule(augment),
        to_pooled=Pooling(net.images_to_pooled, precision),
        head=HeadLogits(net.pooled_to_logits),
        sampler=Sampler(train.labels, seed=0),
        first_epoch=0,
    )


def trainer(
    net: Network, part: keras.Model, precision: Precision, *, stage: str, steps: int
) -> Trainer:
    """Return a trainer of ``part`` from ``stage`` on, as in the recipe vgg16, for two epochs."""
    plan = phase_plan(
        load_recipe("vgg16"),
        "finetune",
        epochs=2,
        learning_rate=1e-5,
        steps=steps,
        class_weights=None,
    )
    groups = [Group([variable for group in net.trained_from(stage) for variable in group])]
    return Trainer(part, groups, plan, tf.distribute.get_strategy(), precision, [])


def second_epoch(one: Trainer, data: PhaseData) -> dict:
    """Return the row of the second epoch; the first one also traces the step."""
    best = BestModel(one.groups[0].variables, "val_loss")
    one.run(data, best=best, observer=SilentObserver())
    return one.history[-1]
