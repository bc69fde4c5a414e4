"""Reproduce a finished run, elsewhere or later, and compare the results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tltool.data.splits.split import read_split
from tltool.errors import DataError, reading
from tltool.events import Observer
from tltool.recipe.load import read_recipe
from tltool.recipe.schema import Recipe
from tltool.runs.environment import differences
from tltool.runs.json_text import from_json
from tltool.runs.layout import RunLayout
from tltool.runs.manifest import Manifest, read_manifest
from tltool.runs.peers import check_single_process
from tltool.runs.run_options import RunOptions
from tltool.training.keras_objects import NO_OBJECTS, KerasObjects
from tltool.workflows.finetune import FinetuneResult, start_run
from tltool.workflows.pack_run import open_packed_run
from tltool.workflows.preflight.python_objects import check_given_again
from tltool.workflows.preflight.reproduction import check_finished, check_places
from tltool.workflows.resolve.run_backbone import with_kept_backbone
from tltool.workflows.resolve.run_corrections import with_kept_corrections
from tltool.workflows.resolve.run_spec import resolve
from tltool.workflows.training_run.context import recipe_digest
from tltool.workflows.training_run.run_fingerprint import RunFingerprint

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
        environment: (what, before, now) of everything in the environment that differs.
    """

    verdict: Verdict
    run: Path
    metrics: tuple[tuple[str, Any, Any], ...]
    largest: float
    weights_identical: bool
    environment: tuple[tuple[str, str, str], ...]


def reproduce(
    source: Path | str,
    *,
    data: Path | str | None = None,
    test: Path | str | None = None,
    weights: Path | str | None = None,
    out: Path | str | None = None,
    tolerance: float = 0.02,
    offline: bool = False,
    observer: Observer | None = None,
    objects: KerasObjects = NO_OBJECTS,
) -> Reproduction:
    """Run again what ``source`` holds, and compare. The first run is only read.

    Args:
        source: a run folder, or a file that ``tltool runs pack`` wrote.
        data: the new location of the images, if they were moved.
        test: the new location of the separate test source, if it was moved.
        weights: a file of pretrained weights to use instead of the backbone's own.
        out: folder of the second run; by default runs/<name>-<UTC>.
        tolerance: largest difference of accuracy and log-loss that passes as the same.
        offline: open no network connection.
        observer: receives everything that is reported.
        objects: what was given to `tltool.finetune` beside the recipe, again.

    Raises:
        UsageError: the run was never finished, or it was trained with other objects.
        DataError: the images differ, or a file of the run was changed.
        EnvironmentProblem: the weights before training differ.
    """
    check_single_process("the reproduction of a run")
    source = Path(source)
    with open_packed_run(source) as layout:
        first = read_manifest(layout.manifest)
        check_finished(source, first.status)
        check_given_again(source, first, objects.description, verb="reproduce")
        spec = resolve(with_kept_backbone(_recipe_of(layout, first), layout, first))
        with reading(layout.metrics, "file of metrics"):
            metrics = dict(from_json(layout.metrics.read_text(encoding="utf-8")))
        options = RunOptions(
            str(data or first.options.data),
            test=str(test) if test else first.options.test,
            out=Path(out) if out else None,
            weights=Path(weights) if weights else first.options.weights,
            device=first.options.device,
            offline=offline,
        )
        options = with_kept_corrections(options, layout, first)
        check_places(options)
        expected = _fingerprint(layout, first)
        result = start_run(spec, options, observer=observer, expected=expected, objects=objects)
        second = read_manifest(RunLayout(result.run).manifest)
        return _compare(metrics, result, first, second, tolerance)


def _fingerprint(layout: RunLayout, manifest: Manifest) -> RunFingerprint:
    """Return the data and weights that the second run must find again."""
    return RunFingerprint(
        purpose="reproduce",
        data_digest=manifest.data_digest,
        rows=read_split(layout.split),
        weights_digest=manifest.weights_digest,
        in_order=False,
        time_limit=_end_of_training(manifest),
        micro_batches=manifest.micro_batches,
        precision=manifest.precision,
    )


def _end_of_training(manifest: Manifest) -> dict[str, Any] | None:
    """Return how the time limit changed the run, if it did."""
    limit = manifest.time_limit or {}
    names = {"stopped": "until", "until": "until", "views": "views"}
    return {names[name]: value for name, value in limit.items() if name in names} or None


def _recipe_of(layout: RunLayout, manifest: Manifest) -> Recipe:
    """Return the run's recipe without its export, with the caches and the refit as it had them."""
    file = read_recipe(str(layout.recipe))
    if recipe_digest(file.recipe()) != manifest.recipe_digest:
        raise DataError(
            f"'{layout.recipe}' was changed since the run",
            hint="restore the file; a changed recipe is another experiment",
        )
    settings = ["export.enabled=false", f"train.cache.mode={'on' if manifest.cached else 'off'}"]
    if not manifest.cached:
        settings.append(f"train.cache_decoded={'on' if manifest.decoded else 'off'}")
    if manifest.refit is None:  # such as in a run with a time limit
        settings.append("train.refit=off")
    return file.recipe(settings)


def _compare(
    metrics: Mapping[str, Any],
    result: FinetuneResult,
    first: Manifest,
    second: Manifest,
    tolerance: float,
) -> Reproduction:
    old, new = dict(_figures(metrics)), dict(_figures(result.metrics))
    names = [*old, *(name for name in new if name not in old)]
    changed = tuple(
        (name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    )
    largest = max(
        abs(float(old[name]) - float(new[name])) for name in ("accuracy.value", "log_loss")
    )
    identical = first.model_digest == second.model_digest
    return Reproduction(
        verdict=_verdict(identical and not changed, largest, tolerance),
        run=result.run,
        metrics=changed,
        largest=largest,
        weights_identical=identical,
        environment=tuple(differences(first.environment, second.environment)),
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
