"""Checks before a run is reproduced; no framework is imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tltool.data.sources.open import check_source
from tltool.errors import DataError, UsageError
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout, check_run_folder
from tltool.runs.manifest import read_manifest
from tltool.runs.run_options import RunOptions
from tltool.weights.weights_formats import missing_weights
from tltool.workflows.pack_run import missing_run
from tltool.workflows.preflight.python_objects import check_given_again
from tltool.workflows.resolve.run_backbone import with_kept_backbone


def check_reproduction(
    source: Path,
    *,
    data: str | None = None,
    test: str | None = None,
    weights: Path | None = None,
    out: Path | None = None,
) -> None:
    """Check what can be known of a reproduction at once. A packed run is only opened later.

    Args:
        source: a run folder, or a packed run.
        data: the new location of the images.
        test: the new location of the test images.
        weights: a file of pretrained weights.
        out: folder of the second run.

    Raises:
        UsageError: the run was never finished, a file does not exist, or ``out`` is in use.
        DataError: there is no run, its images are no longer at their place, or the file of its
            backbone is gone.
        GateError: the file of its backbone has changed.
    """
    if not source.exists():
        raise missing_run(source)
    if weights is not None and not weights.is_file():
        raise missing_weights(weights)
    check_run_folder(out)
    for moved_to in filter(None, (data, test)):
        check_source(moved_to, min_classes=1)
    if source.is_dir():
        manifest = read_manifest(RunLayout(source).manifest)
        check_finished(source, manifest.status)
        check_given_again(source, manifest, verb="reproduce")
        options = manifest.options
        check_places(replace(options, data=data or options.data, test=test or options.test))
        with_kept_backbone(Recipe(), RunLayout(source), manifest)


def check_finished(source: Path, status: str) -> None:
    """Check that a run has a result.

    Raises:
        UsageError: it has none.
    """
    if status != "finished":
        raise UsageError(
            f"the run '{source}' has no result to compare with: it is {status}",
            hint=f"finish it first: tltool runs resume {source}",
        )


def check_places(options: RunOptions) -> None:
    """Check that the images still lie where they lay; those with only a name are found later.

    Raises:
        DataError: they do not.
    """
    places = ((options.data, "images", "--data"), (options.test, "test images", "--test"))
    for source, what, option in places:
        if source is not None and Path(source).is_absolute() and not Path(source).exists():
            raise DataError(
                f"the {what} of the run are no longer at '{source}'",
                hint=f"give their new location with {option}",
            )
