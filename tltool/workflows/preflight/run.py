"""What would stop a run, found within a moment: before TensorFlow takes its seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.data.sources.open import check_source
from tltool.recipe.schema import Recipe
from tltool.runs.layout import check_run_folder
from tltool.tracking.observer import check_trackers
from tltool.weights.fetch_weights import check_obtainable
from tltool.workflows.preflight.arguments import check_picture
from tltool.workflows.preflight.recipe import check_names, check_recipe


def check_first(
    recipe: Recipe,
    photos: str,
    *,
    test: str | None,
    out: Path | None,
    weights: Path | None,
    track: Sequence[str],
    offline: bool,
) -> None:
    """Check names, folders and weights as ``finetune`` will; opens no image and no connection.

    Raises:
        UsageError, DataError, EnvironmentProblem: as ``finetune`` would.
    """
    check_recipe(recipe, weights)
    check_trackers(track, offline=offline)
    check_source(photos, test=test, ood_images=recipe.data.ood_images)
    check_run_folder(out)
    if weights is None and recipe.model.weights == "imagenet":
        check_obtainable(recipe.model.backbone, offline=offline)


def check_preview(recipe: Recipe, photos: str, output: Path) -> None:
    """Check names, picture and source as ``preview`` will; opens no image and no connection.

    Raises:
        UsageError, DataError: as ``preview`` would.
    """
    check_names(recipe)
    check_picture(output, option="--output")
    check_source(photos, ood_images=recipe.data.ood_images)


def check_ranking(recipe: Recipe, photos: str, *, offline: bool) -> None:
    """Check names, source and weights as ``fitness`` will; opens no image and no connection.

    Raises:
        UsageError, DataError, EnvironmentProblem: as ``fitness`` would.
    """
    check_recipe(recipe)
    check_source(photos, ood_images=recipe.data.ood_images)
    if recipe.model.weights == "imagenet":
        check_obtainable(recipe.model.backbone, offline=offline)
