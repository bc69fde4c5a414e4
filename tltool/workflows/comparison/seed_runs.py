"""Whether two settings differ on the validation set, from runs of each with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.data.splits.split import read_split
from tltool.evaluation.csv_tables import ValidationRows, read_validation
from tltool.evaluation.metrics.seed_comparison import (
    MeanDifference,
    over_drawn_splits,
    over_given_images,
)
from tltool.runs.layout import RunLayout


@dataclass(frozen=True)
class SeedRun:
    """A run of a setting with one seed.

    Attributes:
        value: the metric that is compared, of all validation images.
        images: of the validation set, each by its path in split.csv.
        ratio: validation images / training images.
        rows: what the run reached on each validation image; None if it did not record it.
    """

    value: float
    images: frozenset[str]
    ratio: float
    rows: ValidationRows | None


def read_seed_run(folder: Path, value: float) -> SeedRun:
    """Return a finished run with what it recorded of its validation images.

    Raises:
        DataError: its split.csv cannot be read.
    """
    run = RunLayout(folder)
    rows = read_split(run.split)
    validation = [row.path.as_posix() for row in rows if row.split == "validation"]
    training = sum(row.split == "train" for row in rows)
    ratio = len(validation) / max(1, training)
    return SeedRun(value, frozenset(validation), ratio, read_validation(run.validation))


def compare_settings(
    first: Mapping[int, SeedRun], second: Mapping[int, SeedRun], *, metric: str
) -> MeanDifference:
    """Return the mean difference of the first setting less the second, with its interval.

    Where the seed draws the split, runs are paired by seed. Where the validation images are the
    same in all runs, they are paired by image too; if a run did not record its single images, the
    interval is unknown.

    Args:
        first: runs by seed.
        second: runs by seed; at least one seed is in both.
        metric: ``val_accuracy``, or any other for the log-loss.
    """
    pairs = [(first[seed], second[seed]) for seed in first if seed in second]
    runs = [run for pair in pairs for run in pair]
    differences = [one.value - other.value for one, other in pairs]
    if len({run.images for run in runs}) > 1:
        ratio = float(np.mean([run.ratio for run in runs]))
        step = 1 / min(len(run.images) for run in runs) if metric == "val_accuracy" else 0.0
        return over_drawn_splits(differences, ratio=ratio, step=step)
    rows = [run.rows for run in runs if run.rows is not None]
    if len(rows) < len(runs) or len({table.paths for table in rows}) > 1:
        return MeanDifference(float(np.mean(differences)))
    values = np.stack([_values(table, metric) for table in rows])
    return over_given_images(values[::2] - values[1::2], rows[0].groups)


def _values(table: ValidationRows, metric: str) -> np.ndarray:
    """Return the metric of each image, float64 [N]."""
    return table.correct.astype(np.float64) if metric == "val_accuracy" else table.losses
