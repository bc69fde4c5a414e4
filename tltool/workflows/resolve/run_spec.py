"""The one place where a recipe becomes the resolved, plain arguments of everything below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tltool.augment.spec import FeatureSpec
from tltool.data.decoding.decode_spec import DecodeSpec
from tltool.errors import UsageError
from tltool.models.backbone_registry import HEAD_ONLY, WHOLE_NET, Backbone
from tltool.models.regularization_spec import RegularizationSpec
from tltool.recipe.model_section import AUTO, DROPOUT, Norm
from tltool.recipe.schema import Recipe
from tltool.recipe.train_section import Monitor
from tltool.workflows.resolve.augmentation import feature_spec
from tltool.workflows.resolve.find_backbone import find_backbone


@dataclass(frozen=True)
class HeadSpec:
    """The classifier on top of the backbone.

    Attributes:
        kind: gap, gap_conv, gap_max, mlp, flatten, attention or original.
        dropout: rate of its dropout, 0 to 1.
        dropout_kind: what the dropout drops.
        attention_dropout: rate at which attention weights are dropped.
        hidden_units: width of the hidden layer of mlp and flatten.
        norm: normalisation of that layer.
    """

    kind: str
    dropout: float
    dropout_kind: Literal["dropout", "gaussian", "spatial", "alpha", "dropconnect"]
    attention_dropout: float
    hidden_units: int
    norm: Norm


@dataclass(frozen=True)
class RunSpec:
    """Everything that a recipe decides about a run, resolved against the registry of backbones.

    Attributes:
        recipe: the settings.
        backbone: registry entry of its backbone.
        decode: how images become the input of the network; with ``data.image_size: auto`` for
            images that are not smaller than that of the backbone.
        head: the classifier on top.
        regularization: what is done inside the backbone.
        first_trained_stage: first stage that the fine-tune phase trains; None without that phase.
        feature_changes: augmentation of cached features.
        problems: what could not be resolved, such as the name of an unknown stage.
    """

    recipe: Recipe
    backbone: Backbone
    decode: DecodeSpec
    head: HeadSpec
    regularization: RegularizationSpec
    first_trained_stage: str | None
    feature_changes: FeatureSpec
    problems: tuple[UsageError, ...]

    @cached_property
    def trained_stages(self) -> int:
        """How many stages of the backbone the fine-tune phase trains."""
        names = [stage.name for stage in self.backbone.stages]
        return len(names) - names.index(self.first_trained_stage) if self.first_trained_stage else 0

    @property
    def monitor(self) -> Monitor:
        """The validation metric that decides which weights are best."""
        train = self.recipe.train
        if train.early_stopping.monitor != "auto":
            return train.early_stopping.monitor
        if train.imbalance in ("weights", "balanced_sampling"):
            return "val_balanced_loss"
        return "val_calibrated_loss" if self.recipe.evaluate.calibrate else "val_loss"

    @property
    def trains_whole_backbone(self) -> bool:
        """Whether no part of the backbone stays frozen, so that no features can be cached."""
        return self.first_trained_stage == self.backbone.stages[0].name


def resolve(recipe: Recipe) -> RunSpec:
    """Return what ``recipe`` decides about a run.

    No image is opened. A framework is loaded only to read a backbone of the user's own.

    Raises:
        UsageError: there is no such backbone, its file does not fit, or it is auto, which only a
            training run chooses.
    """
    model, size = recipe.model, explicit_size(recipe)
    if model.backbone == AUTO:
        raise UsageError(
            "model.backbone is auto, and only `tltool finetune` and `tltool recipes run` choose a "
            "backbone",
            hint="name one, such as --set model.backbone=vgg16; `tltool compare DATA --backbones "
            "NAME,NAME` compares them",
        )
    backbone = find_backbone(model.backbone, model.preprocessing, side=size)
    side = size or backbone.image_size
    stage, problems = None, list[UsageError]()
    try:
        stage = _first_trained_stage(recipe, backbone)
    except UsageError as error:
        problems.append(error)
    return RunSpec(
        recipe,
        backbone,
        decode=DecodeSpec(side, side, recipe.data.resize),
        head=_head(recipe, backbone),
        regularization=_regularization(recipe),
        first_trained_stage=stage,
        feature_changes=feature_spec(recipe.augment),
        problems=tuple(problems),
    )


def explicit_size(recipe: Recipe) -> int | None:
    """Return the side in pixels that the recipe sets; None if backbone or images decide it."""
    size = recipe.data.image_size
    return None if size == "auto" else size


def with_backbone(recipe: Recipe, name: str) -> Recipe:
    """Return ``recipe`` with another backbone; all else is unchanged."""
    model = recipe.model.model_copy(update={"backbone": name})
    return recipe.model_copy(update={"model": model})


def _head(recipe: Recipe, backbone: Backbone) -> HeadSpec:
    """Return the head; a paper's head without hidden layers is a ``gap``."""
    section = recipe.model.head
    kind = section.kind or backbone.default_head
    of_paper = kind == "original"
    dropout = section.dropout
    if dropout is None:
        dropout = backbone.head.dropout if of_paper else DROPOUT
    return HeadSpec(
        kind="gap" if of_paper and not backbone.head.hidden else kind,
        dropout=dropout,
        dropout_kind=section.dropout_kind,
        attention_dropout=section.attention_dropout,
        hidden_units=section.hidden_units,
        norm=section.norm,
    )


def _regularization(recipe: Recipe) -> RegularizationSpec:
    section = recipe.model.regularization
    block = section.drop_block
    return RegularizationSpec(
        section.stochastic_depth,
        (block.rate, block.size) if block else None,
        section.norm,
        recipe.model.norm_groups,
    )


def _first_trained_stage(recipe: Recipe, backbone: Backbone) -> str | None:
    """Return the first stage that the fine-tune phase trains; None when there is no such phase.

    Raises:
        UsageError: the backbone has no such stage.
    """
    unfreeze = recipe.train.finetune.unfreeze
    if recipe.train.finetune.epochs == 0 or unfreeze == HEAD_ONLY:
        return None
    if unfreeze == "last":
        return backbone.stages[-1].name
    if unfreeze == WHOLE_NET:
        return backbone.stages[0].name
    return backbone.stage(unfreeze).name
