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
    probe: Floats | None = None,
    groups: Integers | None = None,
) -> dict[str, Any]:
    """Return the accuracy of two baselines.

    Args:
        images: those that the model is evaluated on.
        training_labels: class numbers of the training images, int [T], which determine the
            majority class; without them the labels of ``images`` do.
        probe: probabilities of the linear probe for ``images``, float [N, C]; None without one.
        groups: number of the group of each of ``images``, int [N], or None.

    Returns:
        ``majority`` ``{class, accuracy}`` and ``probe`` ``{accuracy}`` or None, on ``images``.
    """
    labels = images.labels()
    source = labels if training_labels is None else training_labels
    majority = int(np.bincount(source, minlength=len(images.class_names)).argmax())
    return {
        "majority": {
            "class": images.class_names[majority],
            "accuracy": rate_of(labels == majority, groups),
        },
        "probe": None
        if probe is None
        else {"accuracy": rate_of(probe.argmax(axis=1) == labels, groups)},
    }
