"""What can be known of a recipe without opening a photo."""

from __future__ import annotations

from collections.abc import Sequence

from tltool.errors import UsageError
from tltool.evaluation.asserts import check_asserts
from tltool.models.backbones import Backbone, get_backbone
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.workflows.augmentation import check_augmentation
from tltool.workflows.unpack import first_trained_stage


def check_recipes(references: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return (recipe, what is wrong with it or None) for each name or file."""
    return [(reference, _problem(reference)) for reference in references]


def check_names(recipe: Recipe) -> None:
    """Check the names that a recipe gives of things outside it, without TensorFlow.

    Raises:
        UsageError: an unknown backbone, stage or metric, images too small for the backbone, changes
            that no phase makes, or a cache of nothing.
    """
    if recipe.evaluate.strict and not recipe.evaluate.asserts:
        raise UsageError(
            "evaluate.strict is set without a condition in evaluate.asserts",
            hint="add one, such as --assert 'accuracy>=0.9', or leave out --strict",
        )
    backbone = get_backbone(recipe.model.backbone)
    _check_cache(recipe, backbone)
    side = recipe.data.image_size or backbone.image_size
    backbone.check_size(side, side)
    check_augmentation(recipe, backbone)
    check_asserts(recipe.evaluate.asserts, strict=recipe.evaluate.strict)


def _check_cache(recipe: Recipe, backbone: Backbone) -> None:
    stage = first_trained_stage(recipe, backbone)
    if recipe.train.cache.mode == "on" and stage == backbone.stages[0].name:
        raise UsageError(
            "train.cache is on, but train.finetune.unfreeze leaves no frozen part to cache",
            hint="--set train.cache=off, or unfreeze a later stage",
        )


def photos_of(recipe: Recipe, *, told: str) -> str:
    """Return the source of photos that a recipe names.

    Args:
        recipe: the recipe.
        told: what the user calls it.

    Raises:
        UsageError: it names none.
    """
    if recipe.data.source is None:
        raise UsageError(
            f"the recipe '{told}' names no photos",
            hint=f"tltool recipes run {told} PHOTOS, or set data.source in the recipe",
        )
    return recipe.data.source


def _problem(reference: str) -> str | None:
    try:
        check_names(load_recipe(reference))
    except UsageError as error:
        return error.message
    return None
