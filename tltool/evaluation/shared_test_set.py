"""How many runs were evaluated on the same test set, and how optimistic that makes the best."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tltool.errors import TltoolError
from tltool.evaluation.csv_tables import read_predictions
from tltool.runs.json_text import from_json
from tltool.runs.layout import GROUP_FILE, RunLayout
from tltool.runs.manifest import read_manifest

_MOST_READ = 20  # runs whose predictions are compared; more change the estimate little


@dataclass(frozen=True)
class SharedTestSet:
    """The runs that were evaluated on one test set.

    Attributes:
        digest: of the test images.
        runs: folders of the runs, in the order of their names.
        best: the run with the highest accuracy.
        optimism: expected amount by which its accuracy is too high if all are equally good.
    """

    digest: str
    runs: tuple[Path, ...]
    best: Path
    optimism: float

    @property
    def summary(self) -> str:
        """One sentence; empty if there is only one run."""
        if len(self.runs) < 2:
            return ""
        return (
            f"this test set was used by {len(self.runs)} runs: if they are equally good, the "
            f"accuracy of the best of them is about {100 * self.optimism:.1f} points too optimistic"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "digest": self.digest,
            "runs": len(self.runs),
            "best": str(self.best),
            "optimism": self.optimism,
            "summary": self.summary,
        }


@dataclass(frozen=True)
class _EvaluatedRun:
    folder: Path
    accuracy: float
    n: int


def digest_of_images(digests: Iterable[str]) -> str | None:
    """Return a SHA-256 (hex) over the contents of images in any order; None without images."""
    ordered = sorted(digests)
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest() if ordered else None


def find_shared_test_sets(folder: Path) -> dict[str, SharedTestSet]:
    """Return the test sets that runs in a folder were evaluated on, by digest.

    The runs of a sweep or a cross-validation in the folder count too. Unreadable runs, and those
    of earlier versions, which did not record a digest, are passed over.

    Args:
        folder: with the runs.
    """
    runs: dict[str, list[_EvaluatedRun]] = {}
    for run in sorted(_runs_in(folder)):
        found = _evaluated(run)
        if found is not None:
            runs.setdefault(found[0], []).append(found[1])
    return {digest: _shared(digest, sharing) for digest, sharing in runs.items()}


def find_shared_test_set(run: Path) -> SharedTestSet | None:
    """Return the test set of a run, with all runs in the same folder of runs that used it.

    Args:
        run: the folder of a run, whose metrics.json is written; a run of a sweep or of a
            cross-validation belongs to the folder that this is in.

    Returns:
        None if the run was not evaluated on a test set.
    """
    found = _evaluated(run)
    if found is None:
        return None
    parent = run.absolute().parent
    folder = parent.parent if (parent / GROUP_FILE).is_file() else parent
    return find_shared_test_sets(folder).get(found[0])


def expected_maximum(count: int) -> float:
    """Return the expected maximum of ``count`` independent standard normal values."""
    points = np.linspace(-8, 8, 4001)
    normal = NormalDist()
    below = np.array([normal.cdf(x) for x in points]) ** count
    # E[max] = ∫ (1 - F) over x > 0, less ∫ F over x < 0
    step = points[1] - points[0]
    positive = points > 0
    return float(((1 - below)[positive].sum() - below[~positive].sum() + 0.5) * step)


def expected_optimism(correct: NDArray[np.bool_], groups: NDArray[np.int64], count: int) -> float:
    """Return by how much the best of ``count`` equally good models is expected to be too good.

    The accuracies are taken as normal with equal variances and correlations: the models make some
    errors on the same images, and only the others make one of them look better. So it is the
    expected maximum of independent values, times the standard deviation of the accuracies around
    their mean. That is estimated from the images on which the models differ.

    Args:
        correct: whether each of some of the models classifies each image correctly, [R, N]; R >= 2.
        groups: the group of each image, int [N].
        count: all models.
    """
    values = correct.astype(np.float64)
    values = values - values.mean(axis=0)  # an image that all classify equally makes no difference
    values = values - values.mean(axis=1, keepdims=True)
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(numbers, weights=row) for row in values])
    variance = float((sums**2).sum()) / ((len(values) - 1) * correct.shape[1] ** 2)
    return expected_maximum(count) * math.sqrt(variance)


def _runs_in(folder: Path) -> Iterator[Path]:
    for path in folder.glob("*/manifest.json"):
        yield path.parent
    for group in folder.glob(f"*/{GROUP_FILE}"):
        for path in group.parent.glob("*/manifest.json"):
            yield path.parent


def _evaluated(folder: Path) -> tuple[str, _EvaluatedRun] | None:
    """Return the digest of a run's test set and what it reached; None if it reached nothing."""
    run = RunLayout(folder)
    try:
        digest = read_manifest(run.manifest).test_digest
        if digest is None:
            return None
        metrics = from_json(run.metrics.read_text(encoding="utf-8"))
        if metrics["split"] != "test":
            return None
        return digest, _EvaluatedRun(folder, float(metrics["accuracy"]["value"]), metrics["n"])
    except (TltoolError, OSError, ValueError, KeyError, TypeError):
        return None


def _shared(digest: str, runs: Sequence[_EvaluatedRun]) -> SharedTestSet:
    best = max(runs, key=lambda run: run.accuracy)
    folders = tuple(run.folder for run in runs)
    optimism = _optimism(runs, best) if len(runs) > 1 else 0.0
    return SharedTestSet(digest, folders, best.folder, optimism)


def _optimism(runs: Sequence[_EvaluatedRun], best: _EvaluatedRun) -> float:
    read = [rows for rows in (_predictions(run.folder) for run in runs[-_MOST_READ:]) if rows]
    shared = [path for path in read[0] if all(path in rows for rows in read)] if read else []
    if len(read) < 2 or len(shared) < best.n:  # predictions are missing: as if independent
        accuracy = float(np.mean([run.accuracy for run in runs]))
        return expected_maximum(len(runs)) * math.sqrt(accuracy * (1 - accuracy) / best.n)
    correct = np.array([[rows[path][0] for path in shared] for rows in read])
    names = [read[0][path][1] or f" {number}" for number, path in enumerate(shared)]
    _, groups = np.unique(names, return_inverse=True)
    return expected_optimism(correct, groups, len(runs))


def _predictions(folder: Path) -> Mapping[str, tuple[bool, str]]:
    """Return by path whether a run classifies each image correctly, and the image's group.

    It is empty where the predictions cannot be read.
    """
    try:
        rows = read_predictions(RunLayout(folder).predictions)
        return {row.path: (row.correct, row.group) for row in rows}
    except (OSError, ValueError):
        return {}
