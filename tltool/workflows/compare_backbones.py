"""Compare backbones on a data set: a cross-validated linear probe on the features of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tltool.data.audit.changed_files import files_as_audited
from tltool.errors import EnvironmentProblem, TltoolError, UsageError
from tltool.events import Observer, SilentObserver
from tltool.models.backbone_registry import Backbone
from tltool.recipe.schema import DataSection
from tltool.training.devices import share_gpus
from tltool.training.own_settings import with_own_settings
from tltool.workflows.dataset.backbone_probes import (
    BackboneProbes,
    LeaderboardEntry,
    describe_saving,
    probe_folds,
    ranked,
)
from tltool.workflows.dataset.labelled_images import read_labelled_images
from tltool.workflows.dataset.splitting import find_duplicates, group_numbers
from tltool.workflows.resolve.find_backbone import find_backbone
from tltool.workflows.workers import checked_workers, open_workers


@dataclass(frozen=True)
class Leaderboard:
    """Backbones by descending accuracy, and those that could not be evaluated.

    Attributes:
        n: number of images.
        classes: number of classes.
        entries: the backbones.
        skipped: by name, why a backbone could not be evaluated.
    """

    n: int
    classes: int
    entries: tuple[LeaderboardEntry, ...]
    skipped: dict[str, str]

    @property
    def saving(self) -> str | None:
        """A sentence on a backbone that is as good and much faster; None if there is none."""
        return describe_saving(self.entries)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {
            "n": self.n,
            "classes": self.classes,
            "backbones": [entry.to_json() for entry in self.entries],
            "skipped": self.skipped,
            "saving": self.saving,
        }


@with_own_settings
def compare_backbones(
    data: str,
    backbones: Sequence[str],
    *,
    image_size: int | None = None,
    weights: Literal["imagenet", "random"] = "imagenet",
    ood_images: str | None = None,
    pixels: str | None = None,
    seed: int = 0,
    offline: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    observer: Observer | None = None,
) -> Leaderboard:
    """Cross-validate a linear probe on the features of each backbone, in the same folds.

    Near-duplicates stay in one fold, and the regularisation strength of each probe is selected
    within its training folds. Features are cached: a second call with the same images takes
    seconds.

    Args:
        data: any source of labelled images; its splits are merged.
        backbones: names of the registry, or paths of model files.
        image_size: side in pixels for all; None means what `data.image_size: auto` would be.
        weights: imagenet, or random to evaluate the architecture alone.
        ood_images: name of a folder of out-of-distribution images next to the class folders.
        pixels: shape of the images in a table of pixels.
        seed: of the folds.
        offline: open no network connection.
        workers: processes on this machine that compute features, bit-identical; needs Ray.
        cluster: a running Ray cluster that does so instead: auto or HOST:PORT.
        observer: receives progress and messages.

    Raises:
        UsageError: a backbone is unknown.
        DataError: the images cannot be used, or a class has too few.
        EnvironmentProblem: none of the backbones has weights available.
    """
    observer = observer or SilentObserver()
    where = checked_workers(workers, cluster)
    gpu = where is not None and share_gpus()
    candidates = [find_backbone(name, side=image_size) for name in dict.fromkeys(backbones)]
    if not candidates:
        raise UsageError("no backbone is given", hint="--backbones vgg16,resnet50")
    catalog = read_labelled_images(
        data, ood_images=ood_images, pixels=pixels, offline=offline, observer=observer
    )
    groups = group_numbers(catalog, find_duplicates(catalog, observer))
    probes = BackboneProbes(
        catalog,
        groups,
        probe_folds(catalog.labels(), groups, seed),
        image_size or ("auto" if weights == "imagenet" else None),
        DataSection().resize,
        random_weights=weights == "random",
        seed=seed,
        offline=offline,
        observer=observer,
    )
    with open_workers(where, gpu=gpu, observer=observer) as engine:
        entries, skipped = _evaluate(replace(probes, engine=engine), candidates)
    return Leaderboard(len(catalog), len(catalog.class_names), ranked(entries), skipped)


def _evaluate(
    probes: BackboneProbes, candidates: Sequence[Backbone]
) -> tuple[list[LeaderboardEntry], dict[str, str]]:
    """Return the results of the backbones, and by name why others could not be evaluated.

    Raises:
        EnvironmentProblem: none could.
    """
    entries, skipped, problems = [], {}, list[TltoolError]()
    for backbone in candidates:
        try:
            with files_as_audited(lambda: probes.catalog.items):
                entries.append(probes.evaluate(backbone))
        except (EnvironmentProblem, UsageError) as problem:
            problems.append(problem)
            skipped[backbone.name] = _one_line(problem, backbone.name)
            probes.observer.on_message(f"{backbone.name} is skipped", level="warning")
    if not entries:
        reasons = dict.fromkeys(problem.message for problem in problems)
        hints = [problem.hint for problem in problems if not _lists_alternatives(problem)]
        raise EnvironmentProblem(
            f"none of the backbones can be evaluated: {'; '.join(reasons)}",
            hint=hints[-1]
            if hints
            else "tltool weights pull NAME, or tltool weights import NAME FILE",
        )
    return entries, skipped


def _one_line(problem: TltoolError, name: str) -> str:
    """Return a problem with a hint; for one that lists alternatives, the first command to try."""
    hint = f"tltool weights pull {name}" if _lists_alternatives(problem) else problem.hint
    return f"{problem.message.rstrip('.')}; {hint}"


def _lists_alternatives(problem: TltoolError) -> bool:
    """Return whether a problem has no single hint: it is that of missing weights."""
    return problem.hint is None or "\n" in problem.hint
