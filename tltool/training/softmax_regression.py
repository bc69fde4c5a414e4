"""Softmax regression: multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tltool.runs.keras_setup import import_scikit_learn

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Solution = tuple[np.ndarray, np.ndarray]  # kernel [D, C] and bias [C]


def solve_softmax(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    strength: float,
    weights: np.ndarray | None,
    start: Solution | None = None,
) -> Solution:
    """Return kernel [D, C] and bias [C] of softmax regression on standardised features [N, D].

    Args:
        features: standardised, float [N, D].
        labels: class numbers, int [N].
        classes: number of classes.
        strength: C, the inverse L2 regularization strength.
        weights: sample weights, float [N]; None for equal ones.
        start: where the solver starts, such as the solution for the same rows and a smaller C,
            which saves most iterations; None for zeros. The optimum is the same, and the result
            within the tolerance of the solver.
    """
    import_scikit_learn()
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # threads slow down matrices this small: on two busy cores they took 35 times as long
    with _thread_pools().limit(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-4, warm_start=True)
        if start is not None:
            model.coef_, model.intercept_ = _coefficients(start, np.unique(labels))
        model.fit(features, labels, sample_weight=weights)
    kernel = np.zeros((features.shape[1], classes))
    bias = np.full(classes, -30.0)  # a class missing from the fold is never predicted
    if len(model.classes_) == 2:
        # scikit-learn gives one sigmoid; a softmax with -w/2 and +w/2 is the same classifier
        for sign, label in zip((-0.5, 0.5), model.classes_, strict=True):
            kernel[:, label], bias[label] = sign * model.coef_[0], sign * model.intercept_[0]
    else:
        kernel[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return kernel, bias


@functools.cache  # the search for the libraries takes as long as a small fit
def _thread_pools() -> ThreadpoolController:
    """Return the thread pools of the libraries for linear algebra, which are loaded by now."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _coefficients(solution: Solution, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of the classes present in scikit-learn's form: [K, D] and [K]."""
    kernel, bias = (part[..., present] for part in solution)
    if len(present) == 2:
        return (kernel[:, 1] - kernel[:, 0])[np.newaxis], (bias[1] - bias[0])[np.newaxis]
    return kernel.T, bias
