"""The name of the model that a run exports."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.source_cache import cache_folder
from tltool.recipe.schema import Recipe
from tltool.recipe.source_text import data_name, local_path
from tltool.runs.run_options import RunOptions


def export_name(recipe: Recipe, options: RunOptions) -> str:
    """Return the name of the exported model: the user's, else that of the data.

    Models of two problems are then never versions of one, as they would be if they were named after
    the recipe that both are trained with. Data that a program handed over has no name of its own:
    then it is the recipe's.

    Args:
        recipe: its ``name`` counts if the user set it.
        options: what the run is called with; ``export_name`` is what was decided when it began.
    """
    if options.export_name is not None:
        return options.export_name
    in_cache = cache_folder() in Path(local_path(options.data)).absolute().parents
    if "name" in recipe.model_fields_set or in_cache:
        return recipe.name
    return data_name(options.data) or recipe.name
