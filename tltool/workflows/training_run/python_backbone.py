"""A backbone that a program gives: a file, a name, or a Keras model in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tltool.errors import UsageError, did_you_mean, first_line
from tltool.recipe.model_section import Preprocessing
from tltool.recipe.schema import Recipe
from tltool.recipe.source_text import anchored_backbone, run_name
from tltool.runs.temporary import temporary_folder

if TYPE_CHECKING:
    import keras


@contextmanager
def recipe_with_backbone(
    recipe: Recipe, backbone: keras.Model | Path | str | None, preprocessing: str | None
) -> Iterator[Recipe]:
    """Yield a recipe with another backbone; a model in memory has a file meanwhile.

    Args:
        recipe: the settings.
        backbone: a name of the registry, the path of a model file, or a Keras model without its
            head; None for that of the recipe.
        preprocessing: what a model of the user's own expects; None for that of the recipe.

    Raises:
        UsageError: the model cannot be saved, or there is no such preprocessing.
    """
    modes = get_args(Preprocessing)
    if preprocessing is not None and preprocessing not in modes:
        raise UsageError(
            f"there is no preprocessing '{preprocessing}'.{did_you_mean(preprocessing, modes)}",
            hint=f"choose one of {', '.join(modes)}",
        )
    if backbone is None or isinstance(backbone, Path | str):
        yield _changed(recipe, str(backbone) if backbone else None, preprocessing)
        return
    with temporary_folder("tltool-backbone-") as folder:
        file = folder / f"{run_name(str(getattr(backbone, 'name', 'backbone')))}.keras"
        _save(backbone, file)
        yield _changed(recipe, str(file), preprocessing)


def _save(model: keras.Model, file: Path) -> None:
    try:
        model.save(file)
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"the backbone cannot be saved as a Keras model: {first_line(error)}",
            hint="give a keras.Model of Keras' own layers, the path of a file, or a name",
        ) from None


def _changed(recipe: Recipe, backbone: str | None, preprocessing: str | None) -> Recipe:
    model: dict[str, object] = {}
    top: dict[str, object] = {}
    if preprocessing is not None:
        model["preprocessing"] = preprocessing
    if backbone is not None:
        model["backbone"] = anchored_backbone(backbone, Path())
        if "name" not in recipe.model_fields_set:
            top["name"] = run_name(backbone)
    section = recipe.model.model_copy(update=model)
    return recipe.model_copy(update={**top, "model": section})
