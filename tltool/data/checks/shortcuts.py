"""Shortcut learning: file properties that predict the class, which a model may learn.

A shallow decision tree per property, cross-validated, against the majority-class baseline, with a
permutation test (M. Ojala and G. Garriga, "Permutation Tests for Studying Classifier
Performance", 2010).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tltool.data.checks.findings import Finding, Severity

PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "width": ("width",),
    "height": ("height",),
    "aspect ratio": ("aspect",),
    "file size": ("file size",),
    "JPEG quality": ("JPEG quality",),
    "mean colour": ("mean red", "mean green", "mean blue"),
    "border colour": ("border red", "border green", "border blue"),
}
"""The columns of the scan for each property; the camera is a further property."""

SERIOUS_LIFT = 0.5
"""Reduction of the majority-class baseline's error rate, from which a property is a shortcut."""
FOLDS = 5
"""Of the cross-validation; smaller classes are not analysed."""
_COLOURS = ("mean colour", "border colour")
_LEAVES = 8  # of a tree, or twice as many as classes
_MOST_CLASSES = 64  # the largest; more would make the trees slow
_PERMUTATIONS = 99
_SIGNIFICANT = 0.01
_MOST_ROWS = 2000
_MOST_CAMERAS = 8
_SEED = 0


@dataclass(frozen=True)
class Shortcut:
    """How well one property predicts the class.

    Attributes:
        name: of the property.
        accuracy: cross-validated accuracy of a decision tree on this property alone.
        majority: accuracy of the majority-class baseline.
        p_value: of the permutation test; None where the accuracy is too low to be tested.
    """

    name: str
    accuracy: float
    majority: float
    p_value: float | None

    @property
    def lift(self) -> float:
        """Relative reduction of the baseline's error rate, at most 1."""
        return (self.accuracy - self.majority) / max(1 - self.majority, 1e-9)

    @property
    def is_shortcut(self) -> bool:
        """Whether it predicts the class far better than the majority-class baseline."""
        return self.p_value is not None and self.p_value <= _SIGNIFICANT


def find_shortcuts(
    columns: Mapping[str, NDArray[np.float32]], cameras: Sequence[str], labels: NDArray[np.int64]
) -> list[Shortcut]:
    """Return the properties that vary, the best predictor first.

    Args:
        columns: numeric properties of each image by name, float32 [N] each.
        cameras: make and model of each image, ``""`` where unknown.
        labels: int64 [N]; at most the 64 largest classes are analysed.
    """
    rows = _sample(labels)
    if len(np.unique(labels[rows])) < 2:
        return []
    measured = []
    for name, parts in PROPERTIES.items():
        values = np.stack([columns[part][rows] for part in parts], axis=1)
        measured.append(_measure(name, values, labels[rows]))
    measured.append(_measure("camera", _one_hot([cameras[i] for i in rows.tolist()]), labels[rows]))
    return sorted((each for each in measured if each), key=lambda each: -each.lift)


def shortcut_findings(shortcuts: Sequence[Shortcut]) -> Iterator[Finding]:
    """Yield the findings about the properties that predict the class.

    All properties except colours share one finding: they usually have one cause, such as a camera.
    """
    predictors = [each for each in shortcuts if each.is_shortcut]
    files = [each for each in predictors if each.name not in _COLOURS]
    if files:
        suggestion = (
            "take the images of all classes from the same sources, processed in the same way"
        )
        yield _finding(files, suggestion, "serious")
    for each in predictors:
        if each.name in _COLOURS:
            suggestion = (
                "acceptable if the objects differ in colour; if the background does, vary it"
            )
            yield _finding([each], suggestion, "warning")


def _finding(predictors: Sequence[Shortcut], suggestion: str, severity: Severity) -> Finding:
    """Return one finding about properties, the best predictor first."""
    best, *more = predictors
    detail = (
        f"{best.name} alone predicts the class of {best.accuracy:.0%} of the images (baseline: "
        f"{best.majority:.0%}, p = {best.p_value:.2g}): the model may learn the {best.name} "
        "instead of the object"
    )
    if more:
        detail += f"; also {', '.join(f'{each.name} {each.accuracy:.0%}' for each in more)}"
    kind = f"shortcut: {', '.join(each.name for each in predictors)}"
    return Finding(None, kind, detail, suggestion, severity)


def _sample(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return positions in the classes that are large enough: all or a fixed random sample."""
    rows = np.flatnonzero(_large_enough(labels))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _MOST_ROWS, replace=False))
    return rows[_large_enough(labels[rows])]


def _large_enough(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labels, bool [N], are of the largest classes, with an image for every fold."""
    counts = np.bincount(labels)
    largest = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    return np.isin(labels, largest[counts[largest] >= FOLDS])


def _one_hot(cameras: Sequence[str]) -> NDArray[np.float32]:
    """Return a column for each of the most frequent cameras and for no camera."""
    names = [name for name, _ in Counter(cameras).most_common(_MOST_CAMERAS)]
    return np.array([[camera == name for name in names] for camera in cameras], np.float32)


def _measure(name: str, values: NDArray[np.float32], labels: NDArray[np.int64]) -> Shortcut | None:
    """Measure one property, float32 [N, K]; None if it is the same for all images."""
    if not len(values) or (values == values[0]).all():
        return None
    from sklearn.model_selection import StratifiedKFold

    majority = float(np.bincount(labels).max() / len(labels))
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED)
    folds = list(split.split(values, labels))
    accuracy = _accuracy(values, labels, folds)
    untested = Shortcut(name, accuracy, majority, None)
    if untested.lift < SERIOUS_LIFT:
        return untested
    random = np.random.default_rng(_SEED)
    as_good = sum(
        _accuracy(values, random.permutation(labels), folds) >= accuracy
        for _ in range(_PERMUTATIONS)
    )
    return Shortcut(name, accuracy, majority, (as_good + 1) / (_PERMUTATIONS + 1))


def _accuracy(
    values: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> float:
    from sklearn.tree import DecisionTreeClassifier

    correct, classes = 0, len(np.unique(labels))
    for train, validation in folds:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=max(_LEAVES, 2 * classes),
            min_samples_leaf=max(2, len(train) // max(100, 4 * classes)),
            random_state=_SEED,
        )
        tree.fit(values[train], labels[train])
        correct += int((tree.predict(values[validation]) == labels[validation]).sum())
    return correct / len(labels)
