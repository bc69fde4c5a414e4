"""A recipe as a Python program gives it: a name, a file, a dictionary or a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tltool.recipe.load import RecipeFile, read_mapping, read_recipe
from tltool.recipe.overrides import Override
from tltool.recipe.schema import Recipe


def recipe_of(
    recipe: Recipe | Mapping[str, Any] | Path | str, settings: Mapping[str, Any] | None = None
) -> Recipe:
    """Return a recipe with single keys changed.

    Args:
        recipe: name or file of a recipe; the keys of one as a dictionary, which may name a
            ``base``; or a recipe.
        settings: values by key, such as ``{"train.head.epochs": 5}``.

    Raises:
        UsageError: there is no such recipe, or a key or a value is wrong.

    Examples:
        >>> recipe_of({"base": "quick"}, {"data.image_size": 48}).data.image_size
        48
    """
    overrides = [Override(key, value, f"set {key}") for key, value in (settings or {}).items()]
    if isinstance(recipe, Mapping):
        file = read_mapping(recipe)
    elif isinstance(recipe, Recipe):
        file = RecipeFile(recipe.name, recipe.model_dump(), recipe.model_dump(exclude_unset=True))
    else:
        file = read_recipe(str(recipe))
    return file.recipe(overrides) if overrides or not isinstance(recipe, Recipe) else recipe
