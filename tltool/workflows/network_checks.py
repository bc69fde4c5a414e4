"""What a recipe asks of its network, checked against the registry before anything is opened."""

from __future__ import annotations

from pathlib import Path

from tltool.errors import UsageError
from tltool.models.backbones import Backbone
from tltool.models.regularization import check_regularization
from tltool.recipe.schema import Recipe
from tltool.weights.published import PUBLISHED
from tltool.workflows.augmentation import check_maps
from tltool.workflows.unpack import first_trained_stage, head_kind, regularization

HIDDEN_LAYER = ("mlp", "flatten")  # heads with one
_RECIPES = {"alexnet": "alexnet_classic", "digits_cnn": "digit_recognizer"}


def check_network(recipe: Recipe, backbone: Backbone) -> None:
    """Check that the backbone takes images of this size and has what the recipe changes in it.

    Raises:
        UsageError: images too small for the backbone, regularisation or a head that this network
            cannot have, or feature maps too small for what changes them.
    """
    side = recipe.data.image_size or backbone.image_size
    backbone.check_size(side, side)
    check_regularization(backbone, regularization(recipe), side=side, pretrained=False)
    _check_head(recipe, head_kind(recipe, backbone))
    stage = first_trained_stage(recipe, backbone)
    before = backbone.previous(stage) if stage else None
    if before:
        cut = backbone.sides(side)[backbone.stages.index(before)]
        check_maps(recipe, cut, cut)


def check_weights(recipe: Recipe, backbone: Backbone, given: Path | None) -> None:
    """Check that the weights wanted exist, and fit what is done inside the backbone.

    Args:
        recipe: what the run does.
        backbone: the registry entry of its backbone.
        given: a file of weights that the command names.

    Raises:
        UsageError: none are published, or they are for another normalisation.
    """
    pretrained = given is not None or recipe.model.weights != "random"
    side = recipe.data.image_size or backbone.image_size
    check_regularization(backbone, regularization(recipe), side=side, pretrained=pretrained)
    published = given is not None or recipe.model.weights != "imagenet"
    if not published and backbone.name not in PUBLISHED:
        raise UsageError(
            f"{backbone.name} has no pretrained weights.", hint=_from_scratch(recipe, backbone)
        )


def _from_scratch(recipe: Recipe, backbone: Backbone) -> str:
    if first_trained_stage(recipe, backbone) == backbone.stages[0].name:
        return "this recipe trains all of it: set model.weights to random"
    known = _RECIPES.get(backbone.name)
    return f"train it from scratch: --recipe {known or f'scratch --backbone {backbone.name}'}"


def _check_head(recipe: Recipe, kind: str) -> None:
    head, groups = recipe.model.head, recipe.model.norm_groups
    if kind == "gap_conv" and head.dropout_kind == "dropconnect":
        raise UsageError(
            "DropConnect drops weights of dense layers, and the head gap_conv has none",
            hint="set model.head.kind to gap, or model.head.dropout_kind to another",
        )
    if kind == "flatten" and head.norm == "instance":
        raise UsageError(
            "the head flatten knows no instance normalisation: it has no positions to average",
            hint="set model.head.norm to batch, layer, group or none",
        )
    if kind in HIDDEN_LAYER and head.norm == "group" and groups and head.hidden_units % groups:
        raise UsageError(
            f"{groups} groups do not divide the {head.hidden_units} hidden units of the head",
            hint="set model.norm_groups to a number that divides them, or to null",
        )
