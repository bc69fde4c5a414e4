"""Simple baselines: the majority class, and the linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog
from tltool.evaluation.metrics.confidence_intervals import rate_of

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


def compute_baselines(
    images: Catalog,
    *,
    training_labels: Integers | None = None,
    probe_logits: Floats | None = None,
    validation_labels: Integers | None = None,
    groups: Integers | None = None,
    validation_groups: Integers | None = None,
) -> dict[str, Any]:
    """Return the accuracy of two baselines.

    Args:
        images: those that the model is evaluated on.
        training_labels: class numbers of the training images, int [T], which determine the
            majority class; without them the labels of ``images`` do.
        probe_logits: logits of the linear probe on the validation images, float [V, C].
        validation_labels: class numbers of the validation images, int [V].
        groups: number of the group of each of ``images``, int [N], or None.
        validation_groups: the same of the validation images, int [V], or None.

    Returns:
        ``majority`` ``{class, accuracy}`` on ``images``, and ``probe`` ``{evaluated_on, accuracy}``
        or None. The probe is evaluated on the validation set, also where ``images`` are a test set.
    """
    labels = images.labels()
    source = labels if training_labels is None else training_labels
    majority = int(np.bincount(source, minlength=len(images.class_names)).argmax())
    probe = None
    if probe_logits is not None and validation_labels is not None:
        correct = probe_logits.argmax(axis=1) == validation_labels
        probe = {"evaluated_on": "validation", "accuracy": rate_of(correct, validation_groups)}
    return {
        "majority": {
            "class": images.class_names[majority],
            "accuracy": rate_of(labels == majority, groups),
        },
        "probe": probe,
    }
