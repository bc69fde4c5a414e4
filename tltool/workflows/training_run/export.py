"""The verified export at the end of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tltool.artifact import Artifact
from tltool.data.catalog import Catalog
from tltool.export.golden import GOLDEN_IMAGES
from tltool.export.parity import ParityChild, ParityResult
from tltool.export.saved_model import export_saved_model
from tltool.runs.environment import versions
from tltool.workflows.export_samples.parity_samples import contents_of, sample_bytes, sample_of
from tltool.workflows.training_run.context import Session


def parity_process(session: Session) -> AbstractContextManager[ParityChild | None]:
    """Start the fresh process that will prove the export, so that it loads TensorFlow meanwhile.

    Returns:
        A context that ends it; of None when the recipe exports nothing.
    """
    return ParityChild() if session.recipe.export.enabled else nullcontext()


def export_run(
    session: Session,
    artifact: Artifact,
    sample: Catalog,
    saved_models: Path,
    *,
    child: ParityChild | None,
) -> Path | None:
    """Write saved_models/<name>/<version>/ if the recipe wants an export.

    The export appears only after ``child``, which knows neither tltool nor Keras, gave the
    model's answers for images of ``sample``, as bytes and as arrays.

    Raises:
        GateError: the answers differ.
        EnvironmentProblem: the disk is full or not writable.
    """
    if child is None:
        return None
    settings = session.recipe.export
    with session.phase("export"):
        photos = sample_of(
            artifact, sample_bytes(sample, max(settings.parity_images, GOLDEN_IMAGES))
        )

        def prove(folder: Path) -> ParityResult:
            result = child.check(
                folder,
                images=photos.images,
                arrays=photos.arrays,
                expected=photos.expected,
                ood_scores=photos.ood_scores,
                tolerance=settings.tolerance,
            )
            session.observer.on_message(_told(result))
            return result

        contents = contents_of(
            artifact,
            photos.golden,
            recipe=session.recipe,
            facts={**session.facts, "run": session.run.folder.name, **versions()},
        )
        return export_saved_model(contents, saved_models / session.recipe.name, verify=prove)


def _told(result: ParityResult) -> str:
    worst = max(result.max_abs_difference.values())
    return (
        f"parity: {result.n} images in a fresh process, largest difference of a probability "
        f"{worst:.1g}, same class for {result.label_agreement:.0%}"
    )
