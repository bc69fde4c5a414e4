"""What a recipe asks of its network, checked against the registry before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tltool.errors import UsageError
from tltool.models.backbone_registry import WHOLE_NET, Backbone
from tltool.models.regularization_spec import regularization_problems
from tltool.recipe.schema import Recipe
from tltool.weights.published import PUBLISHED
from tltool.workflows.resolve.augmentation import check_maps
from tltool.workflows.resolve.specs import first_trained_stage, head_kind, regularization

HIDDEN_LAYER = ("mlp", "flatten")  # heads with one
_RECIPES = {"alexnet": "alexnet_classic", "digits_cnn": "digit_recognizer"}


def network_problems(recipe: Recipe, backbone: Backbone) -> Iterator[UsageError]:
    """Yield what a recipe asks of its network that it cannot do, weights aside.

    That is: images too small for the backbone, regularisation or a head that this network cannot
    have, feature maps too small for what changes them.
    """
    side = recipe.data.image_size or backbone.image_size
    yield from caught(backbone.check_size, side, side)
    settings = regularization(recipe)
    yield from regularization_problems(backbone, settings, side=side, pretrained=False)
    yield from _of_head(recipe, head_kind(recipe, backbone))
    yield from caught(_check_cut, recipe, backbone, side)


def weights_problems(
    recipe: Recipe, backbone: Backbone, given: Path | None
) -> Iterator[UsageError]:
    """Yield what is wrong with the weights wanted: there are none, or they do not fit.

    Args:
        recipe: what the run does.
        backbone: the registry entry of its backbone.
        given: a file of weights that the command names.
    """
    if given is None and recipe.model.weights == "random":
        return
    side = recipe.data.image_size or backbone.image_size
    settings = regularization(recipe)
    yield from regularization_problems(backbone, settings, side=side, pretrained=True)
    if given is None and recipe.model.weights == "imagenet" and backbone.name not in PUBLISHED:
        yield UsageError(
            f"{backbone.name} has no pretrained weights.", hint=_from_scratch(recipe, backbone)
        )


def caught(check: Callable[..., None], *arguments: Any) -> Iterator[UsageError]:
    """Yield what ``check`` raises."""
    try:
        check(*arguments)
    except UsageError as error:
        yield error


def _check_cut(recipe: Recipe, backbone: Backbone, side: int) -> None:
    stage = first_trained_stage(recipe, backbone)
    before = backbone.previous(stage) if stage else None
    if before and side >= backbone.min_size:
        cut = backbone.sides(side)[backbone.stages.index(before)]
        check_maps(recipe, cut, cut)


def _from_scratch(recipe: Recipe, backbone: Backbone) -> str:
    settings = recipe.train.finetune
    if settings.epochs and settings.unfreeze in (WHOLE_NET, backbone.stages[0].name):
        return "this recipe trains all of it: set model.weights to random"
    known = _RECIPES.get(backbone.name)
    return f"train it from scratch: --recipe {known or f'scratch --backbone {backbone.name}'}"


def _of_head(recipe: Recipe, kind: str) -> Iterator[UsageError]:
    head, groups = recipe.model.head, recipe.model.norm_groups
    if kind == "gap_conv" and head.dropout_kind == "dropconnect":
        yield UsageError(
            "DropConnect drops weights of dense layers, and the head gap_conv has none",
            hint="set model.head.kind to gap, or model.head.dropout_kind to another",
        )
    if kind == "flatten" and head.norm == "instance":
        yield UsageError(
            "the head flatten knows no instance normalisation: it has no positions to average",
            hint="set model.head.norm to batch, layer, group or none",
        )
    if kind in HIDDEN_LAYER and head.norm == "group" and groups and head.hidden_units % groups:
        yield UsageError(
            f"{groups} groups do not divide the {head.hidden_units} hidden units of the head",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
