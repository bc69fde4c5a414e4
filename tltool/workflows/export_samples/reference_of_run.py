"""Reference statistics for the export of a run that an older version of tltool trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tltool.artifact import Artifact
from tltool.inference import Classifier, softmax
from tltool.runs.manifest import Manifest
from tltool.training.reference import make_reference
from tltool.workflows.export_samples.run_images import RunImages

_BATCH = 32


def with_reference(artifact: Artifact, images: RunImages, manifest: Manifest) -> Artifact:
    """Return ``artifact`` with reference statistics, computed from validation images if missing.

    Args:
        artifact: the trained model.
        images: validation images of its run.
        manifest: of the run. After a refit the model was trained on these images too, so that
            they are no reference; the artifact is then returned as it is.
    """
    if artifact.calibration.reference is not None or manifest.refit:
        return artifact
    classifier = Classifier(artifact.network)
    batches = range(0, len(images.arrays), _BATCH)
    pooled = np.concatenate(
        [classifier.pooled(images.arrays[start : start + _BATCH]) for start in batches]
    )
    logits = classifier.pooled_to_logits(pooled)
    detector = artifact.calibration.detector
    reference = make_reference(
        softmax(logits, artifact.description.temperature),
        images.labels,
        ood_scores=detector.scores(pooled) if detector else None,
        pooled=pooled,
    )
    return replace(artifact, calibration=replace(artifact.calibration, reference=reference))
