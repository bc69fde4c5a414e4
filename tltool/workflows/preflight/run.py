"""What would stop a run, found within a moment: before TensorFlow takes its seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tltool.data.sources.open import check_source
from tltool.errors import UsageError
from tltool.evaluation.metrics.asserts import check_asserts
from tltool.export.versions import check_base
from tltool.recipe.model_section import AUTO
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout, check_run_folder
from tltool.runs.peers import check_single_process, read_peers
from tltool.runs.run_options import RunOptions
from tltool.tracking.observer import check_trackers
from tltool.weights.fetch_weights import check_obtainable
from tltool.workflows.preflight.arguments import check_output_folder, check_picture
from tltool.workflows.preflight.backbone_candidates import Candidates, backbone_candidates
from tltool.workflows.preflight.peers import check_peers
from tltool.workflows.preflight.recipe import check_recipe, check_spec
from tltool.workflows.resolve.export_name import export_name
from tltool.workflows.resolve.find_backbone import find_backbone
from tltool.workflows.resolve.run_corrections import check_corrections
from tltool.workflows.resolve.run_spec import RunSpec, resolve
from tltool.workflows.samples import check_empty, has_digits
from tltool.workflows.workers import workers_of


def check_run(spec: RunSpec, options: RunOptions) -> None:
    """Check everything that would stop a run; opens no image and no connection.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    if options.register is not None and not spec.recipe.export.enabled:
        raise UsageError(
            "--register needs an exported model, but export.enabled is false in the recipe",
            hint="leave out --register, or use --set export.enabled=true",
        )
    check_peers(spec, options)
    check_training(spec, options)
    if spec.recipe.export.enabled:
        check_base(options.saved_models / export_name(spec.recipe, options))


def check_training(spec: RunSpec, options: RunOptions) -> None:
    """Check everything that would stop a run which exports nothing, as ``check_run``.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    workers_of(options)
    check_spec(spec, options.weights)
    check_trackers(options.track, offline=options.offline, register=options.register)
    ood_images = spec.recipe.data.ood_images
    listing = check_source(options.data, test=options.test, ood_images=ood_images)
    if listing is not None:
        check_asserts(spec.recipe.evaluate.asserts, listing.columns.classes())
    check_corrections(options, None if listing is None else listing.columns.classes())
    peers = read_peers()
    if peers is None or peers.writes:  # the others have a folder of their own
        check_run_folder(options.out)
    if options.weights is None:
        _check_weights(spec, offline=options.offline)


def check_recipe_run(recipe: Recipe, options: RunOptions, *, budget: float | None) -> None:
    """Check everything that would stop a run, whether or not its recipe names the backbone.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    check_budget(recipe, budget)
    if recipe.model.backbone == AUTO:
        check_choice(recipe, options)
    else:
        check_run(resolve(recipe), options)


def check_budget(recipe: Recipe, budget: float | None) -> None:
    """Check that a budget has something to limit.

    Raises:
        UsageError: the recipe names its backbone.
    """
    if budget is not None and recipe.model.backbone != AUTO:
        raise UsageError(
            "--budget limits the choice of the backbone, and the recipe names "
            f"{recipe.model.backbone}",
            hint="add --backbone auto, or leave out --budget; --time-limit limits the training",
        )


def check_choice(recipe: Recipe, options: RunOptions) -> Candidates:
    """Check everything that would stop a run whose backbone is yet to be chosen, as ``check_run``.

    Returns:
        the backbones to choose from.

    Raises:
        UsageError, DataError, EnvironmentProblem: something would.
    """
    check_single_process("the choice of a backbone")
    candidates = backbone_candidates(recipe, offline=options.offline, weights=options.weights)
    check_run(candidates.specs[0], options)
    return candidates


def check_backbones(
    names: Sequence[str], data: str, *, side: int | None = None, ood_images: str | None = None
) -> None:
    """Check backbones and the source whose images they see; opens no image.

    Args:
        names: of the backbones, or paths of model files.
        data: a source of labelled images.
        side: of the images, pixels; None for each backbone's own.
        ood_images: a source of out-of-distribution images.

    Raises:
        UsageError: a backbone is unknown.
        DataError: as ``read_source``.
    """
    for name in names:
        find_backbone(name, side=side)
    check_source(data, ood_images=ood_images)


def check_demo(folder: Path, *, offline: bool) -> None:
    """Check folder and weights of the demo; opens no connection.

    Raises:
        UsageError: ``folder`` is a file, or holds a folder digits with something else in it.
        EnvironmentProblem: the weights are not stored, and there is no network.
    """
    check_output_folder(folder)
    if not has_digits(folder / "digits"):
        check_empty(folder / "digits")
    check_obtainable("vgg16", offline=offline)


def check_review(source: str, data: Path | None) -> None:
    """Check what is to be reviewed; opens no image.

    Args:
        source: the folder of a run, or a source of labelled images.
        data: the new location of the images of a run.

    Raises:
        UsageError: ``data`` is given for a source that is no run.
        DataError: the source cannot be used.
    """
    if is_run(source):
        return
    if data is not None:
        raise UsageError(
            f"--data is the new location of the images of a run, and '{source}' is no run",
            hint="leave out --data",
        )
    check_source(source, min_classes=1)


def is_run(source: str) -> bool:
    """Whether ``source`` is the folder of a run."""
    return RunLayout(Path(source)).manifest.is_file()


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
    spec = resolve(recipe)
    check_spec(spec)
    check_source(data, ood_images=recipe.data.ood_images)
    _check_weights(spec, offline=offline)


def _check_weights(spec: RunSpec, *, offline: bool) -> None:
    """Check that published weights can be had, where the recipe uses them."""
    if spec.recipe.model.weights == "imagenet" and not spec.backbone.file:
        check_obtainable(spec.backbone.name, offline=offline)
