"""Check recipes as far as that goes without data."""

from __future__ import annotations

from collections.abc import Sequence

from tltool.errors import UsageError
from tltool.models.backbones import get_backbone
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.workflows.unpack import first_trained_stage


def check_recipes(references: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return (recipe, what is wrong with it or None) for each name or file."""
    return [(reference, _problem(reference)) for reference in references]


def check_names(recipe: Recipe) -> None:
    """Check the names that a recipe gives of things outside it, without TensorFlow.

    Raises:
        UsageError: an unknown backbone or stage.
    """
    first_trained_stage(recipe, get_backbone(recipe.model.backbone))


def _problem(reference: str) -> str | None:
    try:
        check_names(load_recipe(reference))
    except UsageError as error:
        return error.message
    return None
