"""What little effort reaches: always naming the largest class, and a linear probe."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.data.catalog import Catalog
from tltool.evaluation.metrics.intervals import wilson

Integers = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


def baselines(
    photos: Catalog,
    *,
    training: Integers | None = None,
    probe: Floats | None = None,
    held: Integers | None = None,
) -> dict[str, Any]:
    """Return the accuracy of ways that cost next to nothing.

    Args:
        images: those that the model is evaluated on.
        training: class numbers of the training images, which say what the largest class is;
            without them ``photos`` do.
        probe: logits of the linear probe on the validation images, float [V, C].
        held: class numbers of the validation images, int [V].

    Returns:
        ``majority`` ``{class, accuracy}`` on ``photos``, and ``probe`` ``{evaluated_on, accuracy}``
        or None. The probe was never asked about a test part: its images are the validation's.
    """
    labels = photos.labels()
    source = labels if training is None else training
    largest = int(np.bincount(source, minlength=len(photos.class_names)).argmax())
    return {
        "majority": {
            "class": photos.class_names[largest],
            "accuracy": _rate(labels == largest),
        },
        "probe": None
        if probe is None or held is None
        else {"evaluated_on": "validation", "accuracy": _rate(probe.argmax(axis=1) == held)},
    }


def _rate(correct: NDArray[np.bool_]) -> dict[str, float]:
    hits, n = int(correct.sum()), len(correct)
    low, high = wilson(hits, n)
    return {"value": hits / n, "low": low, "high": high}
