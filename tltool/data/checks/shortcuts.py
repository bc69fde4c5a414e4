"""Can a property of the file tell the class? Then a model may learn it instead of the object.

A shallow decision tree per property, cross-validated, against the rate of the largest class, with
a permutation test (M. Ojala and G. Garriga, "Permutation Tests for Studying Classifier
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
"""From each property to the columns of the scan that describe it; the camera comes besides."""

SERIOUS_LIFT = 0.5
"""Share of the largest class's errors that a property may take away; above, it is a shortcut."""
FOLDS = 5
"""Of the cross-validation: of smaller classes nothing can be said."""
_COLOURS = ("mean colour", "border colour")
_LEAVES = 8  # of a tree, or twice as many as classes
_MOST_CLASSES = 64  # the largest; more would only make the trees slow
_PERMUTATIONS = 99
_CERTAIN = 0.01
_MOST_ROWS = 2000
_MOST_CAMERAS = 8
_SEED = 0


@dataclass(frozen=True)
class Shortcut:
    """How well one property predicts the class.

    Attributes:
        name: of the property.
        accuracy: cross-validated accuracy of a tree on it alone.
        majority: rate of the largest class.
        p_value: how often shuffled labels are predicted as well; None where the accuracy is too
            low to matter.
    """

    name: str
    accuracy: float
    majority: float
    p_value: float | None

    @property
    def lift(self) -> float:
        """Share of the majority's errors that the property takes away, 1 at most."""
        return (self.accuracy - self.majority) / max(1 - self.majority, 1e-9)

    @property
    def found(self) -> bool:
        """Whether it predicts the class far better than the largest class does."""
        return self.p_value is not None and self.p_value <= _CERTAIN


def find_shortcuts(
    columns: Mapping[str, NDArray[np.float32]], cameras: Sequence[str], labels: NDArray[np.int64]
) -> list[Shortcut]:
    """Try every property that varies; the best predictor comes first.

    Args:
        columns: the numbers of each image by name, float32 [N] each.
        cameras: maker and model of each image, ``""`` where unknown.
        labels: int64 [N]. Of many classes, the largest 64 are looked at.
    """
    rows = _sample(labels)
    if len(np.unique(labels[rows])) < 2:
        return []
    found = []
    for name, parts in PROPERTIES.items():
        values = np.stack([columns[part][rows] for part in parts], axis=1)
        found.append(_measure(name, values, labels[rows]))
    found.append(_measure("camera", _one_hot([cameras[i] for i in rows.tolist()]), labels[rows]))
    return sorted((each for each in found if each), key=lambda each: -each.lift)


def shortcut_findings(shortcuts: Sequence[Shortcut]) -> Iterator[Finding]:
    """Yield a finding for every property that predicts the class.

    What a file is like, which has one cause as a rule (another camera or program), makes one.
    """
    found = [each for each in shortcuts if each.found]
    files = [each for each in found if each.name not in _COLOURS]
    if files:
        suggestion = "get the images of all classes from the same sources, prepared alike"
        yield _finding(files, suggestion, "serious")
    for each in found:
        if each.name in _COLOURS:
            suggestion = "fine if the objects differ in colour; if it is the background, vary it"
            yield _finding([each], suggestion, "warning")


def _finding(found: Sequence[Shortcut], suggestion: str, severity: Severity) -> Finding:
    """Return one finding about properties, the best predictor first."""
    best, *more = found
    detail = (
        f"{best.name} alone predicts the class of {best.accuracy:.0%} of the images (the "
        f"largest class has {best.majority:.0%}, p = {best.p_value:.2g}): the model may learn "
        f"the {best.name} instead of the object"
    )
    if more:
        detail += f"; likewise {', '.join(f'{each.name} {each.accuracy:.0%}' for each in more)}"
    kind = f"shortcut: {', '.join(each.name for each in found)}"
    return Finding(None, kind, detail, suggestion, severity)


def _sample(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions to work on: of classes large enough, all or a fixed random choice."""
    rows = np.flatnonzero(_large_enough(labels))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, _MOST_ROWS, replace=False))
    return rows[_large_enough(labels[rows])]


def _large_enough(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which labels, bool [N], are of the largest classes, with an image for every fold."""
    counts = np.bincount(labels)
    largest = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    return np.isin(labels, largest[counts[largest] >= FOLDS])


def _one_hot(cameras: Sequence[str]) -> NDArray[np.float32]:
    """Return a column for each of the most frequent cameras and for no camera."""
    names = [name for name, _ in Counter(cameras).most_common(_MOST_CAMERAS)]
    return np.array([[camera == name for name in names] for camera in cameras], np.float32)


def _measure(name: str, values: NDArray[np.float32], labels: NDArray[np.int64]) -> Shortcut | None:
    """Measure one property, float32 [N, K]; None if it is the same for all."""
    if not len(values) or (values == values[0]).all():
        return None
    from sklearn.model_selection import StratifiedKFold

    majority = float(np.bincount(labels).max() / len(labels))
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED)
    folds = list(split.split(values, labels))
    accuracy = _accuracy(values, labels, folds)
    found = Shortcut(name, accuracy, majority, None)
    if found.lift < SERIOUS_LIFT:
        return found
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

    right, classes = 0, len(np.unique(labels))
    for train, held in folds:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=max(_LEAVES, 2 * classes),
            min_samples_leaf=max(2, len(train) // max(100, 4 * classes)),
            random_state=_SEED,
        )
        tree.fit(values[train], labels[train])
        right += int((tree.predict(values[held]) == labels[held]).sum())
    return right / len(labels)
