"""The time limit of a run: training ends early enough for evaluation and export."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tltool.models.network_parts import Network
from tltool.runs.duration import format_duration
from tltool.training.cache_costs import seconds_per_image
from tltool.training.ood import MAX_IMAGES
from tltool.training.time_budget import TimeBudget
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.context import RunContext

_MARGIN = 1.3  # the end is estimated, and other programs share the machine
_REPORT_PASSES = 100  # forward passes that the saliency maps of the report are worth
# plots, report, export and its check: about so many times the loading of libraries, the building of
# the model, and not less than on two idle cores
_LOADS, _BUILDS, _LEAST_SECONDS = 2, 5, 20.0


def set_time_budget(run: RunContext, network: Network, dataset: Dataset) -> None:
    """Decide when training must end; called when features of the original images are computed.

    The end of the run is estimated from what was measured: the images that evaluation and export
    pass through the network, at the speed of the feature extraction, or of a small batch where
    there was none; and plots, saving the model
    and checking the export, from the time for loading libraries and building the model.

    Args:
        run: the run; its ``budget`` is set.
        network: the classifier.
        dataset: its images.
    """
    known = run.manifest.time_limit or {}
    if "until" in known:
        phase, epochs = known["until"]
        run.budget = TimeBudget(until=(phase, epochs))
    if run.options.time_limit is None:
        return
    reserve = known.get("reserve") or _seconds_of_the_end(run, network, dataset)
    spent = _spent(run)
    left = run.options.time_limit - spent - reserve
    run.budget = TimeBudget(time.perf_counter() + left)
    _record(run, seconds=run.options.time_limit, reserve=round(reserve, 1))
    record_spent_time(run)
    message = f"time limit {format_duration(run.options.time_limit)}: "
    kept = f"about {format_duration(reserve)} are kept for evaluation and export"
    if left > 0:
        run.observer.on_message(f"{message}{format_duration(left)} are left for training, {kept}")
    else:
        run.observer.on_message(
            f"{message}{format_duration(spent)} are spent already and {kept}: "
            "training does only what a model needs, and the run may take longer",
            level="warning",
        )


def views_in_time(run: RunContext, done: int, needed: int, *, seconds: float) -> bool:
    """Whether the next augmented view is computed, or training goes on with those that are done.

    Args:
        run: the run.
        done: views that are cached, the original images included.
        needed: as many as the recipe asks for.
        seconds: that a view takes.
    """
    limit = run.manifest.time_limit or {}
    if "views" in limit:
        return bool(done < limit["views"])
    if run.budget.left() > seconds:
        return True
    _record(run, views=done)
    run.observer.on_message(
        f"time limit: {done} of {needed} views of the training images are cached, the others "
        "would take too long",
        level="warning",
    )
    return False


def was_stopped(run: RunContext) -> bool:
    """Whether the time limit ended training, in this process or an earlier one."""
    return "stopped" in (run.manifest.time_limit or {})


def stop_of_training(run: RunContext) -> dict[str, Any] | None:
    """Return phase and epochs after which the time limit ended training; None if it did not."""
    stopped = (run.manifest.time_limit or {}).get("stopped")
    return dict(zip(("phase", "epochs"), stopped, strict=True)) if stopped else None


def record_stop(run: RunContext, phase: str, epochs: int) -> None:
    """Record and report after which epoch of which phase training ended."""
    _record(run, stopped=[phase, epochs])
    if run.options.time_limit is None:
        reason = "as in the run that is reproduced"
    else:
        reason = f"for the time limit of {format_duration(run.options.time_limit)}"
    after = f"after epoch {epochs} of" if epochs else "before"
    run.observer.on_message(f"training ends {after} the {phase} phase, {reason}")


def record_spent_time(run: RunContext) -> None:
    """Record how much of the time limit is spent, for a process that resumes the run."""
    if run.options.time_limit is not None:
        _record(run, spent=round(_spent(run), 1))


def _spent(run: RunContext) -> float:
    """Return the seconds of the run in all processes."""
    return run.spent_before + time.perf_counter() - run.started


def _seconds_of_the_end(run: RunContext, network: Network, dataset: Dataset) -> float:
    train, validation, test = (len(dataset.part(n)) for n in ("train", "validation", "test"))
    if "features" in run.seconds:
        per_image = run.seconds["features"] / (train + validation)
    else:
        batch = 32 if run.machine.gpu else 4
        per_image = seconds_per_image(
            network.images_to_pooled, batch=batch, precision=run.machine.precision
        )
    recipe = run.recipe
    passes = 2 * test + validation + min(train, MAX_IMAGES)
    if recipe.evaluate.report:
        passes += _REPORT_PASSES
    if recipe.export.enabled:
        passes += 4 * recipe.export.parity_images
    loading = max(_LEAST_SECONDS, _LOADS * run.options.seconds_before)
    building = _BUILDS * run.seconds.get("model", 0.0)
    return _MARGIN * (passes * per_image + loading + building)


def _record(run: RunContext, **known: Any) -> None:
    before: Mapping[str, Any] = run.manifest.time_limit or {}
    run.record(replace(run.manifest, time_limit={**before, **known}))
