"""What can be known of a recipe without opening an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tltool.errors import UsageError
from tltool.evaluation.metrics.asserts import check_asserts
from tltool.models.backbone_registry import Backbone, get_backbone
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.workflows.preflight.network import caught, network_problems, weights_problems
from tltool.workflows.preflight.unused_settings import notes, unfreezing_note
from tltool.workflows.resolve.augmentation import check_augmentation
from tltool.workflows.resolve.specs import first_trained_stage


class Checked(NamedTuple):
    """A recipe's name or file, what is wrong with it or None, and what it sets in vain."""

    recipe: str
    problem: str | None
    notes: list[str]


def check_recipes(references: Sequence[str]) -> list[Checked]:
    """Check each name or file."""
    return [_checked(reference) for reference in references]


def check_names(recipe: Recipe) -> None:
    """Check the names that a recipe gives of things outside it, without TensorFlow.

    Raises:
        UsageError: an unknown backbone, stage or metric, changes that no phase makes, a cache of
            nothing, or what the network cannot do.
    """
    for problem in _problems(recipe):
        raise problem


def check_recipe(recipe: Recipe, weights: Path | None = None) -> None:
    """Check all that a recipe alone can get wrong, without TensorFlow.

    Args:
        recipe: what the run does.
        weights: a file of pretrained weights that the command names.

    Raises:
        UsageError: see ``check_names``; or weights that do not exist or do not fit.
    """
    check_names(recipe)
    for problem in weights_problems(recipe, get_backbone(recipe.model.backbone), weights):
        raise problem


def _problems(recipe: Recipe) -> Iterator[UsageError]:
    """Yield everything but what is wrong with the weights."""
    evaluate = recipe.evaluate
    if evaluate.strict and not evaluate.asserts:
        yield UsageError(
            "evaluate.strict is set without a condition in evaluate.asserts",
            hint="add one, such as --assert 'accuracy>=0.9', or leave out --strict",
        )
    backbone = get_backbone(recipe.model.backbone)
    yield from caught(_check_cache, recipe, backbone)
    yield from caught(check_augmentation, recipe, backbone)
    yield from network_problems(recipe, backbone)
    yield from caught(partial(check_asserts, evaluate.asserts, strict=evaluate.strict))


def _check_cache(recipe: Recipe, backbone: Backbone) -> None:
    stage = first_trained_stage(recipe, backbone)
    if recipe.train.cache.mode == "on" and stage == backbone.stages[0].name:
        raise UsageError(
            "train.cache is on, but train.finetune.unfreeze leaves no frozen part to cache",
            hint="--set train.cache=off, or unfreeze a later stage",
        )


def source_of(recipe: Recipe, *, told: str) -> str:
    """Return the source of images that a recipe names.

    Args:
        recipe: the recipe.
        told: what the user calls it.

    Raises:
        UsageError: it names none.
    """
    if recipe.data.source is None:
        raise UsageError(
            f"the recipe '{told}' names no images",
            hint=f"tltool recipes run {told} PHOTOS, or set data.source in the recipe",
        )
    return recipe.data.source


def _checked(reference: str) -> Checked:
    try:
        recipe = load_recipe(reference)
        backbone = get_backbone(recipe.model.backbone)
    except UsageError as error:
        return Checked(reference, error.message, [])
    found = [*_problems(recipe), *weights_problems(recipe, backbone, None)]
    if found:
        told = [*dict.fromkeys(problem.message for problem in found)]
        problem = told[0] if len(told) == 1 else "\n  ".join([f"recipe '{reference}':", *told])
        return Checked(reference, problem, [])
    warning = unfreezing_note(recipe, backbone)
    return Checked(reference, None, [*notes(recipe, backbone), *([warning] if warning else [])])
