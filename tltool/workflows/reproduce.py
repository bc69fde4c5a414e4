"""Do a finished run again, elsewhere or later, and say how far the result is the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tltool.data.splits.split import read_split
from tltool.errors import DataError, UsageError
from tltool.events import Observer
from tltool.recipe.load import load_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.environment import differences, environment
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import read_manifest
from tltool.workflows.finetune import finetune
from tltool.workflows.pack_run import opened
from tltool.workflows.training_run.context import RunOptions, recipe_digest
from tltool.workflows.training_run.fingerprint import RunFingerprint

Verdict = Literal["bit-identical", "same within tolerance", "differs"]


@dataclass(frozen=True)
class Reproduction:
    """How a second run compares with the first.

    Attributes:
        verdict: whether weights and metrics are the same.
        run: folder of the second run.
        metrics: (name, first, second) of every figure that differs.
        largest: largest difference of accuracy or log-loss.
        weights_identical: whether the trained weights have the same digest.
        environment: (what, then, now) of everything around that differs.
    """

    verdict: Verdict
    run: Path
    metrics: tuple[tuple[str, Any, Any], ...]
    largest: float
    weights_identical: bool
    environment: tuple[tuple[str, str, str], ...]


def reproduce(
    source: Path,
    *,
    photos: Path | str | None = None,
    test: Path | str | None = None,
    weights: Path | None = None,
    out: Path | None = None,
    tolerance: float = 0.02,
    offline: bool = False,
    observer: Observer | None = None,
) -> Reproduction:
    """Run again what ``source`` holds, and compare. The first run is only read.

    Args:
        source: a run folder, or a file that ``tltool runs pack`` wrote.
        images: the images, where they lie elsewhere now.
        test: the separate test folder, where it lies elsewhere now.
        weights: a file of pretrained weights to use instead of the backbone's own.
        out: folder of the second run; by default runs/<name>-<UTC>.
        tolerance: largest difference of accuracy and log-loss that passes as the same.
        offline: open no network connection.
        observer: told about everything on the way.

    Raises:
        UsageError: the run was never finished.
        DataError: the images are others, or a file of the run was changed.
        EnvironmentProblem: the weights to start from are others.
    """
    with opened(source) as run:
        facts = read_manifest(run.manifest)
        _check_finished(source, facts["status"])
        recipe = _recipe_of(run, facts)
        arguments = RunOptions.from_json(facts["arguments"])
        expected = RunFingerprint(
            purpose="reproduce",
            data_digest=facts["data_digest"],
            rows=read_split(run.split),
            weights_digest=facts["weights_digest"],
            in_order=False,
        )
        before = from_json(run.metrics.read_text(encoding="utf-8"))
        result = finetune(
            photos or arguments.photos,
            recipe=recipe,
            test=test or arguments.test,
            out=out,
            weights=weights or arguments.weights,
            device=arguments.device,
            offline=offline,
            observer=observer,
            expected=expected,
        )
        now = read_manifest(RunLayout(result.run).manifest)
        return _compare(facts, now, before, dict(result.metrics), result.run, tolerance)


def _check_finished(source: Path, status: str) -> None:
    if status != "finished":
        raise UsageError(
            f"the run '{source}' has no result to compare with: it is {status}",
            hint=f"finish it first: tltool runs resume {source}",
        )


def _recipe_of(run: RunLayout, facts: Mapping[str, Any]) -> Recipe:
    """Return the run's recipe without its export, the choice of the cache made as it was then."""
    recipe = load_recipe(str(run.recipe))
    if recipe_digest(recipe) != facts["recipe_digest"]:
        raise DataError(
            f"'{run.recipe}' was changed since the run",
            hint="restore the file; a changed recipe is another experiment",
        )
    cache = "on" if facts["cached"] else "off"
    return load_recipe(str(run.recipe), ["export.enabled=false", f"train.cache.mode={cache}"])


def _compare(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    run: Path,
    tolerance: float,
) -> Reproduction:
    first, second = dict(_figures(before)), dict(_figures(after))
    names = [*first, *(name for name in second if name not in first)]
    changed = tuple(
        (name, first.get(name), second.get(name))
        for name in names
        if first.get(name) != second.get(name)
    )
    identical = then["model_digest"] == now["model_digest"]
    largest = max(
        abs(float(first[name]) - float(second[name])) for name in ("accuracy.value", "log_loss")
    )
    around = {name: then.get(name) for name in environment()}
    return Reproduction(
        verdict=_verdict(identical and not changed, largest, tolerance),
        run=run,
        metrics=changed,
        largest=largest,
        weights_identical=identical,
        environment=tuple(differences(around, environment())),
    )


def _verdict(identical: bool, largest: float, tolerance: float) -> Verdict:
    if identical:
        return "bit-identical"
    within = math.isfinite(largest) and largest <= tolerance
    return "same within tolerance" if within else "differs"


def _figures(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of everything in a JSON document."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from _figures(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from _figures(value, f"{prefix}[{number}]")
    else:
        yield prefix, document
