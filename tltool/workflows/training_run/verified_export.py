"""The verified export at the end of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tltool.artifact import Artifact
from tltool.export.golden import GOLDEN_IMAGES
from tltool.export.parity import ParityChild, ParityResult
from tltool.export.saved_model import export_saved_model
from tltool.runs.environment import versions
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.export_samples.parity_samples import (
    ParitySamples,
    export_contents,
    make_parity_samples,
    read_sample_images,
)
from tltool.workflows.resolve.export_name import export_name
from tltool.workflows.training_run.context import RunContext


def parity_process(run: RunContext) -> AbstractContextManager[ParityChild | None]:
    """Start the fresh process that will verify the export, so that it loads TensorFlow meanwhile.

    Returns:
        A context that ends it; of None when the recipe exports nothing.
    """
    return ParityChild() if run.recipe.export.enabled else nullcontext()


def export_verified(
    run: RunContext, artifact: Artifact, dataset: Dataset, child: ParityChild | None
) -> Path | None:
    """Write saved_models/<name>/<version>/, and return it; None when the recipe exports nothing.

    The export appears only after ``child``, which knows neither tltool nor Keras, gave the
    model's answers for validation images, as bytes and as arrays.

    Raises:
        GateError: the answers differ.
        EnvironmentProblem: the disk is full or not writable.
    """
    if child is None:
        return None
    settings = run.recipe.export
    with run.phase("export"):
        count = max(settings.parity_images, GOLDEN_IMAGES)
        sample = make_parity_samples(
            artifact, read_sample_images(dataset.part("validation"), count)
        )
        facts = {**run.manifest.to_json(), "run": run.layout.folder.name, **versions()}
        contents = export_contents(artifact, sample.golden, recipe=run.recipe, facts=facts)
        return export_saved_model(
            contents,
            run.options.saved_models / export_name(run.recipe, run.options),
            verify=lambda folder: _verify(run, sample, folder, child),
        )


def _verify(
    run: RunContext, sample: ParitySamples, folder: Path, child: ParityChild
) -> ParityResult:
    """Compare the export's answers with the model's, in the fresh process."""
    result = child.check(
        folder,
        images=sample.images,
        arrays=sample.arrays,
        expected=sample.expected,
        ood_scores=sample.ood_scores,
        tolerance=run.recipe.export.tolerance,
    )
    run.observer.on_message(_summary(result))
    return result


def _summary(result: ParityResult) -> str:
    worst = max(result.max_abs_difference.values())
    return (
        f"parity: {result.n} images in a fresh process, largest difference of a probability "
        f"{worst:.1g}, same class for {result.label_agreement:.0%}"
    )
