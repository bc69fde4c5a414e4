"""Train once per fold of a cross-validation, and say how far the folds differ."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tltool.data.sources.listing import Listing
from tltool.data.sources.open import read_source
from tltool.errors import UsageError
from tltool.events import Observer, SilentObserver
from tltool.recipe.load import load_recipe
from tltool.recipe.overrides import Override
from tltool.recipe.schema import Recipe
from tltool.runs.json_text import to_json
from tltool.training.devices import Device
from tltool.workflows.sweep import metrics_of
from tltool.workflows.training_run.run_group import begin

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
class CrossValidation:
    """The runs of all folds.

    Attributes:
        folder: of the runs and of kfold.json.
        folds: one entry per fold.
        accuracy: over the folds.
        log_loss: over the folds.
        test_accuracy: of the same models on the test part; None without one.
    """

    folder: Path
    folds: tuple[Fold, ...]
    accuracy: Mean
    log_loss: Mean
    test_accuracy: Mean

    def to_json(self) -> dict[str, Any]:
        """Return the document of kfold.json."""
        return {**asdict(self), "folder": str(self.folder)}


def cross_validate(
    photos: str,
    *,
    recipe: str,
    count: int,
    settings: Sequence[str | Override] = (),
    test: str | None = None,
    out: Path,
    weights: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    tensorboard: bool = True,
    track: Sequence[str] = (),
    observer: Observer | None = None,
) -> CrossValidation:
    """Train a run per fold, each with that fold as its validation part. Nothing is exported.

    The runs share features: what one fold's images give is computed once. What ``out`` holds of the
    same cross-validation is taken up: finished runs are read, interrupted ones resumed.

    Args:
        images: the source.
        recipe: name or file of the recipe.
        count: number of folds; a source that gives folds must give as many.
        settings: further settings of all runs.
        test: a separate source of test images, for the final evaluation of each run.
        out: folder of the runs.
        weights: a file of pretrained weights.
        offline: open no network connection.
        device: auto, cpu or gpu.
        tensorboard: write event files into the runs.
        track: where to log the runs besides: mlflow.
        observer: told about everything on the way.

    Raises:
        UsageError: the source gives another number of folds, or ``out`` holds something else, such
            as a cross-validation of other images.
        DataError: a class has too few images.
    """
    observer = observer or SilentObserver()
    data = load_recipe(recipe, settings).data
    listing = read_source(
        photos,
        test=test,
        ood_images=data.ood_images,
        pixels=data.pixels,
        offline=offline,
        observer=observer,
    )
    names = _names(listing, count)
    begin(out, listing, photos=photos, test=test, weights=weights, observer=observer)
    resolved = [_recipe(recipe, settings, name) for name in names]
    found = []
    for number, (name, one) in enumerate(zip(names, resolved, strict=True)):
        observer.on_message(f"run {number + 1} of {len(names)}: fold {name}")
        run = out / f"fold-{name.partition('/')[0]}"
        metrics = metrics_of(
            run,
            one,
            photos,
            observer=observer,
            test=test,
            weights=weights,
            offline=offline,
            device=device,
            tensorboard=tensorboard,
            track=track,
            caches=out / _FEATURES,
        )
        found.append(_fold(name, run, metrics))
    result = _judged(out, found)
    (out / RESULT).write_text(f"{to_json(result.to_json())}\n", encoding="utf-8")
    shutil.rmtree(out / _FEATURES, ignore_errors=True)
    return result


def _names(listing: Listing, count: int) -> list[str]:
    """Return the folds as ``data.fold`` has them: those that the source gives, or drawn ones."""
    given = sorted({item.fold for item in listing.items if item.fold is not None})
    if not given:
        return [f"{fold}/{count}" for fold in range(count)]
    if len(given) != count:
        raise UsageError(
            f"--kfold {count}: {listing.source} gives {len(given)} folds of its own",
            hint=f"--kfold {len(given)}, or a source without a column fold",
        )
    return [str(fold) for fold in given]


def _recipe(reference: str, settings: Sequence[str | Override], fold: str) -> Recipe:
    own = {"data.fold": fold, "export.enabled": False}
    added = [Override(key, value, f"the cross-validation's {key}") for key, value in own.items()]
    return load_recipe(reference, [*settings, *added])


def _fold(name: str, run: Path, metrics: Mapping[str, Any]) -> Fold:
    held = metrics["validation"]
    tested = metrics["accuracy"]["value"] if metrics["evaluated_on"] == "test" else None
    return Fold(name, str(run), held["val_accuracy"], held["val_loss"], tested)


def _judged(out: Path, found: Sequence[Fold]) -> CrossValidation:
    tested = [one.test_accuracy for one in found if one.test_accuracy is not None]
    return CrossValidation(
        out,
        tuple(found),
        accuracy=mean_over([one.accuracy for one in found]),
        log_loss=mean_over([one.log_loss for one in found]),
        test_accuracy=mean_over(tested),
    )


def mean_over(values: Sequence[float]) -> Mean:
    """Return mean and standard error: the deviation of the folds over the root of their number.

    Folds share training images, so that this is no interval of the mean: it understates the spread
    (Bengio and Grandvalet 2004, "No unbiased estimator of the variance of k-fold
    cross-validation").
    """
    if len(values) < 2:
        return Mean(values[0] if values else None, None)
    return Mean(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)))
