"""The one place where a recipe becomes the plain arguments of everything below."""

from __future__ import annotations

from tltool.augment.spec import AugmentSpec
from tltool.data.decode import DecodeSpec
from tltool.models.backbones import Backbone
from tltool.recipe.schema import Recipe, TrainSection


def decode_spec(recipe: Recipe, backbone: Backbone) -> DecodeSpec:
    """Return how photos become the network's input."""
    side = recipe.data.image_size or backbone.image_size
    return DecodeSpec(side, side, recipe.data.resize)


def augment_spec(recipe: Recipe) -> AugmentSpec:
    """Return what is changed in training photos."""
    given = recipe.augment
    return AugmentSpec(
        flip=given.flip,
        crop=(given.crop.min_area, given.crop.max_aspect) if given.crop else None,
        cutout=given.cutout.size if given.cutout else None,
        mixup=given.mixup.alpha if given.mixup else None,
        cutmix=given.cutmix.alpha if given.cutmix else None,
    )


def first_trained_stage(recipe: Recipe, backbone: Backbone) -> str | None:
    """Return the first stage that the fine-tune phase trains; None when there is no such phase.

    Raises:
        UsageError: the backbone has no such stage.
    """
    if recipe.train.finetune.epochs == 0:
        return None
    wanted = recipe.train.finetune.unfreeze
    if wanted == "last":
        return backbone.stages[-1].name
    if wanted == "all":
        return backbone.stages[0].name
    return backbone.stage(wanted).name


def trains_everything(recipe: Recipe, backbone: Backbone) -> bool:
    """Whether no part of the backbone stays frozen in the fine-tune phase."""
    return first_trained_stage(recipe, backbone) == backbone.stages[0].name


def resolved(recipe: Recipe, *, train: TrainSection) -> Recipe:
    """Return the recipe with the choices that the run made."""
    return recipe.model_copy(update={"train": train})
