"""The linear probe as the classifier of a learning curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tltool.evaluation.learning_curve import Fit
from tltool.recipe.train_section import ProbeSection
from tltool.training.probe import fit_probe


def probe_fit(settings: ProbeSection, classes: int, seed: int) -> Fit:
    """Return a probe that selects its regularisation strength on its own training images."""

    def fit(
        features: np.ndarray, labels: np.ndarray, groups: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        return fit_probe(
            features,
            labels,
            classes=classes,
            c_values=list(settings.c_values),
            folds=settings.folds,
            weights=None,
            seed=seed,
            groups=groups,
        ).logits

    return fit
