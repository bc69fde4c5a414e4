"""What would stop a run, found within a moment: before TensorFlow takes its seconds to load."""

from __future__ import annotations

from pathlib import Path

from tltool.data.sources.open import check_source
from tltool.export.versions import check_base
from tltool.recipe.schema import Recipe
from tltool.runs.layout import check_run_folder
from tltool.runs.run_options import RunOptions
from tltool.tracking.observer import check_trackers
from tltool.weights.fetch_weights import check_obtainable
from tltool.workflows.preflight.arguments import check_picture
from tltool.workflows.preflight.recipe import check_recipe, check_spec
from tltool.workflows.resolve.run_spec import RunSpec, resolve


def check_run(spec: RunSpec, options: RunOptions) -> None:
    """Check everything that would stop a run; opens no image and no connection.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    check_training(spec, options)
    if spec.recipe.export.enabled:
        check_base(options.saved_models / spec.recipe.name)


def check_training(spec: RunSpec, options: RunOptions) -> None:
    """Check everything that would stop a run which exports nothing, as ``check_run``.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    check_spec(spec, options.weights)
    check_trackers(options.track, offline=options.offline)
    check_source(options.data, test=options.test, ood_images=spec.recipe.data.ood_images)
    check_run_folder(options.out)
    if options.weights is None and spec.recipe.model.weights == "imagenet":
        check_obtainable(spec.backbone.name, offline=options.offline)


def check_preview(recipe: Recipe, data: str, output: Path) -> None:
    """Check names, picture and source as ``preview`` will; opens no image and no connection.

    Raises:
        UsageError, DataError: as ``preview`` would.
    """
    check_recipe(resolve(recipe))
    check_picture(output, option="--output")
    check_source(data, ood_images=recipe.data.ood_images)


def check_ranking(recipe: Recipe, data: str, *, offline: bool) -> None:
    """Check names, source and weights of ``rank_augmentations``; opens no image, no connection.

    Raises:
        UsageError, DataError, EnvironmentProblem: as ``rank_augmentations`` would.
    """
    check_spec(resolve(recipe))
    check_source(data, ood_images=recipe.data.ood_images)
    if recipe.model.weights == "imagenet":
        check_obtainable(recipe.model.backbone, offline=offline)
