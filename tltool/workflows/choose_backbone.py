"""Choose the backbone of a run on its training images, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.data.catalog import Catalog
from tltool.events import Observer, SilentObserver
from tltool.recipe.schema import Recipe
from tltool.runs.run_options import RunOptions
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.backbone_probes import (
    BackboneProbes,
    LeaderboardEntry,
    describe_saving,
    fastest_within_one_standard_error,
    probe_folds,
    ranked,
)
from tltool.workflows.dataset.backbone_search import BackboneSearch
from tltool.workflows.dataset.dataset import load_dataset
from tltool.workflows.preflight.run import check_choice
from tltool.workflows.resolve.run_corrections import corrections_of
from tltool.workflows.resolve.run_spec import with_backbone
from tltool.workflows.training_run.context import prepare_machine

BUDGET = 120.0  # seconds
_IMAGES = 500  # of the sample, or some of each class where that is more
_PER_CLASS = 8


@dataclass(frozen=True)
class BackboneChoice:
    """The backbone that was chosen, and what was measured.

    Attributes:
        recipe: the recipe with the backbone chosen.
        chosen: its result.
        entries: the results of all that were evaluated, by descending accuracy.
        skipped: by name, why a backbone was not evaluated.
        n: images of the sample.
        seconds: wall seconds that the choice took, reading the images included.
    """

    recipe: Recipe
    chosen: LeaderboardEntry
    entries: tuple[LeaderboardEntry, ...]
    skipped: Mapping[str, str]
    n: int
    seconds: float

    @property
    def runner_up(self) -> LeaderboardEntry | None:
        """The most accurate of the others; None without any."""
        others = (entry for entry in self.entries if entry is not self.chosen)
        return next(others, None)

    @property
    def summary(self) -> str:
        """One line: which backbone, why, and what the runner-up would cost."""
        chosen, other = self.chosen, self.runner_up
        value, low, high = chosen.accuracy
        text = (
            f"{chosen.backbone.name} is chosen: a linear probe reaches accuracy {value:.3f} (95 % "
            f"interval {low:.3f} to {high:.3f}, cross-validated on {self.n:,} training images) at "
            f"{1000 * chosen.seconds_per_image:.1f} ms per image"
        )
        if other is None:
            return f"{text}; no other backbone was evaluated"
        times = other.seconds_per_image / chosen.seconds_per_image
        more = other.correct.mean() > chosen.correct.mean()
        why = ", which is within one standard error," if more else ""
        return (
            f"{text}; runner-up {other.backbone.name}: {other.accuracy[0]:.3f}{why} at "
            f"{times:.1f} times the time"
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary, as manifest.json holds it."""
        return {
            "backbone": self.chosen.backbone.name,
            "summary": self.summary,
            "saving": describe_saving(self.entries),
            "n": self.n,
            "backbones": [entry.to_json() for entry in self.entries],
            "skipped": dict(self.skipped),
            "seconds": round(self.seconds, 3),
        }


@with_own_settings
def choose_backbone(
    recipe: Recipe,
    options: RunOptions,
    *,
    budget: float | None = None,
    observer: Observer | None = None,
) -> BackboneChoice:
    """Choose among pretrained backbones by a cross-validated linear probe on training images.

    A stratified sample of the training images is used; validation and test images are not. The
    backbones are evaluated by ascending time of their forward pass, which is measured, until the
    next does not fit into the budget or until none can be better by more than one standard error.
    Chosen is the fastest whose accuracy is within one standard error of the best, by the paired
    difference (one-standard-error rule; Hastie, Tibshirani and Friedman 2009, section 7.10).

    Args:
        recipe: with ``model.backbone: auto``.
        options: what the run is called with. Weights that are not stored are fetched, unless
            ``offline`` is set.
        budget: wall seconds, from when the images are read; None for two minutes.
        observer: receives progress and messages.

    Raises:
        UsageError: the budget is too short for one backbone, or the recipe fits none.
        DataError: the images cannot be used, or a class has too few.
        EnvironmentProblem: no backbone has its weights available.

    Examples:
        >>> choose_backbone(load_recipe("vgg16", ["model.backbone=auto"]), options).summary
    """
    observer = observer or SilentObserver()
    candidates = check_choice(recipe, options)
    started = time.perf_counter()
    prepare_machine(recipe, options.device)
    catalog, groups = _training_sample(recipe, options, observer)
    probes = BackboneProbes(
        catalog,
        groups,
        probe_folds(catalog.labels(), groups, recipe.seed),
        recipe.data.image_size,
        recipe.data.resize,
        random_weights=False,
        seed=recipe.seed,
        offline=options.offline,
        observer=observer,
    )
    search = BackboneSearch(probes, BUDGET if budget is None else budget, dict(candidates.skipped))
    search.evaluate(search.by_time(candidates.specs))
    entries = ranked(search.entries)
    chosen = fastest_within_one_standard_error(entries)
    choice = BackboneChoice(
        with_backbone(recipe, chosen.backbone.name),
        chosen,
        entries,
        search.skipped,
        len(catalog),
        time.perf_counter() - started,
    )
    observer.on_message(choice.summary)
    return choice


def _training_sample(
    recipe: Recipe, options: RunOptions, observer: Observer
) -> tuple[Catalog, np.ndarray]:
    """Return a stratified sample of the training images, and the group of each."""
    observer.on_phase("backbone", f"training images of {options.data}")
    dataset = load_dataset(
        options.data,
        test=options.test,
        settings=recipe.data,
        seed=recipe.seed,
        offline=options.offline,
        observer=SilentObserver(),  # the run reads them again, and reports what it finds
        corrections=corrections_of(options),
    )
    train, groups = dataset.part("train"), dataset.groups("train")
    rows = stratified_sample(train.labels(), len(train.class_names), seed=recipe.seed)
    return train.select(rows), groups[rows]


def stratified_sample(labels: np.ndarray, classes: int, *, seed: int) -> np.ndarray:
    """Return the rows of a sample with the same class frequencies, in ascending order.

    Args:
        labels: class numbers, int [N].
        classes: number of classes.
        seed: of the sample.

    Returns:
        int64 [n]; all rows where there are at most 500, or 8 for each class.
    """
    wanted = max(_IMAGES, _PER_CLASS * classes)
    share = min(1.0, wanted / len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    parts = []
    for label in range(classes):
        rows = order[labels[order] == label]
        parts.append(rows[: max(_PER_CLASS, round(share * len(rows)))])
    return np.sort(np.concatenate(parts))
