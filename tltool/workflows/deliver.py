"""Export a trained model and prove that the export gives the same answers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import tensorflow as tf

from tltool.artifact import Artifact
from tltool.data.catalog import Catalog
from tltool.data.decode import decode_batch
from tltool.data.transcode import read_image_bytes
from tltool.export.parity import ParityChild, ParityResult, reference_probabilities
from tltool.export.saved_model import export_saved_model
from tltool.runs.environment import versions
from tltool.workflows.session import Session


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
    model's answers for photos of ``sample``, as bytes and as arrays.

    Raises:
        GateError: the answers differ.
        EnvironmentProblem: the disk is full or not writable.
    """
    if child is None:
        return None
    settings = session.recipe.export
    with session.phase("export"):
        contents = sample_bytes(sample, settings.parity_images)
        description = artifact.description
        images, _ = decode_batch(tf.constant(contents, tf.string), description.decode)
        arrays = np.asarray(images)
        expected = reference_probabilities(
            artifact.network.model, arrays, temperature=description.temperature
        )

        def prove(folder: Path) -> ParityResult:
            result = child.check(
                folder,
                images=contents,
                arrays=arrays,
                expected=expected,
                tolerance=settings.tolerance,
            )
            session.observer.on_message(_told(result))
            return result

        return export_saved_model(
            artifact.network.model,
            class_names=description.class_names,
            decode=description.decode,
            base_dir=saved_models / session.recipe.name,
            metadata={**description.to_json(), "run": session.run.folder.name, **versions()},
            temperature=description.temperature,
            verify=prove,
        )


def sample_bytes(catalog: Catalog, count: int) -> list[bytes]:
    """Return the bytes of ``count`` photos spread evenly over the catalog."""
    chosen = np.unique(np.linspace(0, len(catalog.items) - 1, count).astype(int))
    return [read_image_bytes(catalog.items[position].path) for position in chosen]


def _told(result: ParityResult) -> str:
    worst = max(result.max_abs_difference.values())
    return (
        f"parity: {result.n} photos in a fresh process, largest difference of a probability "
        f"{worst:.1g}, same class for {result.label_agreement:.0%}"
    )
