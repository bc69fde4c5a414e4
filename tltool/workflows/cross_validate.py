"""Train once per fold of a cross-validation, and say how far the folds differ."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.data.sources.listing import Listing
from tltool.errors import UsageError
from tltool.evaluation.csv_tables import read_validation
from tltool.evaluation.metrics.confidence_intervals import rate_of
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import RecipeFile
from tltool.recipe.overrides import Override
from tltool.runs.json_text import to_json
from tltool.runs.layout import RunLayout
from tltool.runs.peers import check_single_process
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import write_durably
from tltool.workflows.group_runs import GroupRun, metrics_of_group
from tltool.workflows.resolve.run_spec import resolve
from tltool.workflows.training_run.run_group import list_group, open_run_group

RESULT = "kfold.json"
_FEATURES = ".tltool-features"  # of all folds, gone at the end


@dataclass(frozen=True)
class Fold:
    """What the run of one fold reached on it.

    Attributes:
        fold: as ``data.fold`` has it.
        run: the run folder.
        accuracy: on the fold's images.
        log_loss: on them, nats.
        test_accuracy: on the test part, None without one.
    """

    fold: str
    run: str
    accuracy: float
    log_loss: float
    test_accuracy: float | None


@dataclass(frozen=True)
class Mean:
    """A mean over folds and its standard error; None for what was not measured."""

    mean: float | None
    standard_error: float | None


@dataclass(frozen=True)
class PooledAccuracy:
    """Accuracy over the images of all folds, each classified by the model that did not see it.

    Attributes:
        value: fraction of correct predictions.
        low: lower bound of its 95 % Wilson interval, for the effective number of images.
        high: upper bound.
        n: all images.
        groups: number of groups of dependent images; None if the images are independent.
    """

    value: float
    low: float
    high: float
    n: int
    groups: int | None


@dataclass(frozen=True)
class CrossValidation:
    """The runs of all folds.

    Attributes:
        folder: of the runs and of kfold.json.
        folds: one entry per fold.
        pooled_accuracy: over the images of all folds; None if a run did not record them.
        accuracy: over the folds.
        log_loss: over the folds.
        test_accuracy: of the same models on the test part; None without one.
    """

    folder: Path
    folds: tuple[Fold, ...]
    pooled_accuracy: PooledAccuracy | None
    accuracy: Mean
    log_loss: Mean
    test_accuracy: Mean

    def to_json(self) -> dict[str, Any]:
        """Return the document of kfold.json."""
        return {**asdict(self), "folder": str(self.folder)}


def cross_validate(
    recipe: RecipeFile,
    options: RunOptions,
    *,
    count: int,
    out: Path,
    settings: Sequence[str | Override] = (),
    observer: Observer | None = None,
) -> CrossValidation:
    """Train a run per fold, each with that fold as its validation part. Nothing is exported.

    The runs share features: those of one fold's images are computed once. What ``out`` holds of the
    same cross-validation is taken up: finished runs are read, interrupted ones resumed.

    Args:
        recipe: what to do, before ``settings``.
        options: what each run is called with; ``out`` and ``feature_cache`` are set for each. Its
            workers train several runs at once.
        count: number of folds; a source that gives folds must give as many.
        out: folder of the runs.
        settings: further settings of all runs.
        observer: receives everything that is reported.

    Raises:
        UsageError: the source gives another number of folds, or ``out`` holds something else, such
            as a cross-validation of other images.
        DataError: a class has too few images.
    """
    observer = observer or SilentObserver()
    check_single_process("a cross-validation")
    listing = list_group(recipe.recipe(settings).data, options, observer)
    names = _fold_names(listing, count)
    runs = [
        GroupRun(
            f"fold {name}",
            out / f"fold-{name.partition('/')[0]}",
            resolve(recipe.recipe([*settings, *_fold_settings(name)])),
        )
        for name in names
    ]
    with open_run_group(out, listing, options, observer):
        metrics = metrics_of_group(runs, options, feature_cache=out / _FEATURES, observer=observer)
        folds = [
            _fold(name, run.folder, reached)
            for name, run, reached in zip(names, runs, metrics, strict=True)
        ]
        result = _summary(out, folds)
        write_durably(out / RESULT, f"{to_json(result.to_json())}\n".encode())
        shutil.rmtree(out / _FEATURES, ignore_errors=True)
    return result


def _fold_names(listing: Listing, count: int) -> list[str]:
    """Return the folds as ``data.fold`` has them: those that the source gives, or drawn ones."""
    folds = sorted({item.fold for item in listing.items if item.fold is not None})
    if not folds:
        return [f"{fold}/{count}" for fold in range(count)]
    if len(folds) != count:
        raise UsageError(
            f"--kfold {count}: {listing.source} gives {len(folds)} folds of its own",
            hint=f"--kfold {len(folds)}, or a source without a column fold",
        )
    return [str(fold) for fold in folds]


def _fold_settings(fold: str) -> list[Override]:
    own = {"data.fold": fold, "export.enabled": False}
    return [Override(key, value, f"the cross-validation's {key}") for key, value in own.items()]


def _fold(name: str, run: Path, metrics: Mapping[str, Any]) -> Fold:
    validation = metrics["validation"]
    test = metrics["accuracy"]["value"] if metrics["evaluated_on"] == "test" else None
    return Fold(name, str(run), validation["val_accuracy"], validation["val_loss"], test)


def _summary(out: Path, folds: Sequence[Fold]) -> CrossValidation:
    tests = [fold.test_accuracy for fold in folds if fold.test_accuracy is not None]
    return CrossValidation(
        out,
        tuple(folds),
        pooled_accuracy=pool_accuracy([Path(fold.run) for fold in folds]),
        accuracy=mean_over([fold.accuracy for fold in folds]),
        log_loss=mean_over([fold.log_loss for fold in folds]),
        test_accuracy=mean_over(tests),
    )


def pool_accuracy(runs: Sequence[Path]) -> PooledAccuracy | None:
    """Return the accuracy over the validation images of all runs, which share none.

    The interval treats the models of the folds as one, which is that of k - 1 of k parts of the
    images (Stone 1974, "Cross-validatory choice and assessment of statistical predictions").

    Returns:
        None if a run did not record its validation images.
    """
    tables = [read_validation(RunLayout(run).validation) for run in runs]
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(tables):
        return None
    correct = np.concatenate([table.correct for table in known])
    groups = np.concatenate([table.groups for table in known])
    n, count, rate = len(correct), len(np.unique(groups)), rate_of(correct, groups)
    known_groups = count if count < n else None
    return PooledAccuracy(rate["value"], rate["low"], rate["high"], n, known_groups)


def mean_over(values: Sequence[float]) -> Mean:
    """Return mean and standard error: the deviation of the folds over the root of their number.

    Folds share training images, so that this is no interval of the mean: it understates the spread
    (Bengio and Grandvalet 2004, "No unbiased estimator of the variance of k-fold
    cross-validation").
    """
    if len(values) < 2:
        return Mean(values[0] if values else None, None)
    return Mean(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))
