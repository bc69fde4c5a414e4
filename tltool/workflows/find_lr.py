"""Find learning rates: a range test of each phase, on the features that training would use."""

from __future__ import annotations

import csv
import datetime
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tltool.data.audit.changed_files import files_as_audited
from tltool.evaluation.plots.lr_range_plot import plot_range_tests
from tltool.events import Observer
from tltool.recipe.schema import Recipe
from tltool.runs.layout import RunLayout, check_unused, create_run
from tltool.runs.peers import check_single_process
from tltool.runs.run_options import RunOptions
from tltool.storage.durable import replaced_file
from tltool.training.checkpoint import TrainingState
from tltool.training.lr_range_test import LIVE_STEPS, STEPS, RangeTest, range_test
from tltool.training.own_settings import with_own_settings
from tltool.workflows.preflight.run import check_training
from tltool.workflows.resolve.run_spec import RunSpec
from tltool.workflows.training_run.class_balance import balance_classes
from tltool.workflows.training_run.context import RunContext, prepare_machine
from tltool.workflows.training_run.features import extract_features
from tltool.workflows.training_run.lifecycle import absolute, new_manifest
from tltool.workflows.training_run.phases import (
    Phase,
    finetune_phase,
    fit_probe,
    head_phase,
    load_state,
)
from tltool.workflows.training_run.setup import build_network, fetch_weights, open_dataset

TABLE, PLOT = "learning_rates.csv", "learning_rates.png"
_WORK = ".tltool-work"  # inside the folder of the result, gone at the end


@dataclass(frozen=True)
class LRRangeResult:
    """What the range tests say.

    Attributes:
        folder: of the table and the plot.
        tests: the range test of each phase, by its name.
        present: the learning rates of the recipe.
    """

    folder: Path
    tests: Mapping[str, RangeTest]
    present: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return folder, and for each phase the rates suggested, lowest and present."""
        phases = {
            name: {
                "suggestion": test.suggestion,
                "lowest_loss_at": test.lowest,
                "recipe": self.present[name],
            }
            for name, test in self.tests.items()
        }
        return {"folder": str(self.folder), "phases": phases}


@with_own_settings
def find_learning_rates(spec: RunSpec, options: RunOptions, *, observer: Observer) -> LRRangeResult:
    """Suggest a learning rate for each phase. Nothing that is trained is kept.

    Args:
        spec: what would be done.
        options: what it would be called with; ``out`` is the folder of the table and the plot, by
            default runs/<name>-find-lr-<UTC>.
        observer: receives everything that is reported.

    Raises:
        UsageError, DataError, EnvironmentProblem: as `finetune`.
    """
    check_single_process("the search for learning rates")
    check_training(spec, options)
    spec = replace(spec, recipe=_with_cache(spec))
    machine = prepare_machine(spec.recipe, options.device)
    now = datetime.datetime.now(datetime.UTC)
    folder = create_run(options.out, f"{spec.recipe.name}-find-lr", now=now).folder
    work = RunLayout(folder / _WORK)
    try:
        work.folder.mkdir()
    except FileExistsError:  # made by a search that found the folder empty at the same time
        check_unused(folder)
        raise
    finished = False
    try:
        options = absolute(options)
        manifest = new_manifest(spec, options, now=now)
        observer.on_message(machine.summary)
        run = RunContext(spec, options, work, machine, observer, manifest)
        with files_as_audited(lambda: run.items):
            tests = _test_phases(run)
        train = spec.recipe.train
        present = {"head": train.head.learning_rate, "finetune": train.finetune.learning_rate}
        _write_table(folder / TABLE, tests)
        plot_range_tests(folder / PLOT, tests, present)
        finished = True
    finally:
        shutil.rmtree(work.folder if finished else folder, ignore_errors=True)
    return LRRangeResult(folder, tests, present)


def _with_cache(spec: RunSpec) -> Recipe:
    """Return the recipe with cached features wherever a part of the backbone stays frozen.

    Decoded images are not cached: a range test is shorter than an epoch.
    """
    recipe = spec.recipe
    mode = "off" if spec.trains_whole_backbone else "on"
    cache = recipe.train.cache.model_copy(update={"mode": mode})
    train = recipe.train.model_copy(update={"cache": cache, "cache_decoded": "off"})
    return recipe.model_copy(update={"train": train})


def _test_phases(run: RunContext) -> dict[str, RangeTest]:
    """Return the range test of each phase by its name, on what training would use."""
    weights = fetch_weights(run)
    dataset = open_dataset(run)
    network = build_network(run, weights, dataset)
    state = load_state(run, network)
    features = extract_features(run, network, dataset)
    fit_probe(run, features, state)
    features = features.with_views()
    balance = balance_classes(run, features.images, features.views)
    phases = (head_phase(run.spec, features, balance), finetune_phase(run.spec, features, balance))
    return {phase.plan.name: _test(run, phase, state) for phase in phases if phase is not None}


def _test(run: RunContext, phase: Phase, state: TrainingState) -> RangeTest:
    live = run.recipe.train.cache.mode == "off"
    steps = LIVE_STEPS if live else STEPS
    if live:
        run.observer.on_message(
            f"nothing is cached: up to {steps} rates, each a step of training through the whole "
            "network"
        )
    with run.phase(phase.plan.name, "learning rates from 1e-6 to 10"):
        return range_test(
            phase.input.network,
            phase.groups,
            phase.plan,
            phase.input.data(state.rows_before(phase.plan.name)),
            strategy=run.machine.strategy,
            precision=phase.input.precision,
            observer=run.observer,
            steps=steps,
        )


def _write_table(path: Path, tests: Mapping[str, RangeTest]) -> None:
    with replaced_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["phase", "learning_rate", "loss", "smoothed_loss"])
        for name, test in tests.items():
            for rate, loss, smooth in zip(test.rates, test.losses, test.smooth, strict=True):
                writer.writerow([name, f"{rate:.6g}", f"{loss:.6g}", f"{smooth:.6g}"])
