"""Find learning rates: a range test of each phase, on the features that training would use."""

from __future__ import annotations

import csv
import datetime
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tltool.evaluation.plots.lr_range_plot import plot_range_tests
from tltool.events import Observer
from tltool.models.backbone_registry import get_backbone
from tltool.recipe.schema import Recipe
from tltool.recipe.source_text import anchored
from tltool.runs.environment import environment
from tltool.runs.layout import RunLayout, create_run
from tltool.training.devices import Device
from tltool.training.lr_range_test import LIVE_STEPS, STEPS, RangeTest, range_test
from tltool.training.optimizers import Group
from tltool.training.phase_plan import PhaseData, PhasePlan
from tltool.training.precision import Precision
from tltool.workflows.preflight.recipe import check_recipe
from tltool.workflows.resolve.specs import first_trained_stage
from tltool.workflows.training_run.context import RunOptions, Session, prepare_machine
from tltool.workflows.training_run.setup import (
    build,
    describe_weights,
    find_weights,
    note_weights,
    open_data,
    prepare_learning,
)
from tltool.workflows.training_run.trainer import Learning

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


@dataclass
class RateFinding(Learning):
    """Learning in which each phase is only tried."""

    tests: dict[str, RangeTest] = field(default_factory=dict)

    def _train(
        self,
        network: keras.Model,
        groups: list[Group],
        plan: PhasePlan,
        data: Callable[..., PhaseData],
        *,
        precision: Precision,
        changing: Sequence[keras.Variable],
    ) -> None:
        session = self.session
        live = session.recipe.train.cache.mode == "off"
        steps = LIVE_STEPS if live else STEPS
        if live:
            session.observer.on_message(
                f"nothing is cached: up to {steps} rates, each a step of training through the "
                "whole network"
            )
        with session.phase(plan.name, "learning rates from 1e-6 to 10"):
            self.tests[plan.name] = range_test(
                network,
                groups,
                plan,
                data(batch_size=self.train.batch_size, sampler=self.balance.sampler),
                strategy=session.machine.strategy,
                precision=precision,
                observer=session.observer,
                steps=steps,
            )


def find_rates(
    photos: Path | str,
    *,
    recipe: Recipe,
    out: Path | None = None,
    weights: Path | None = None,
    offline: bool = False,
    device: Device = "auto",
    observer: Observer,
) -> LRRangeResult:
    """Suggest a learning rate for each phase of ``recipe``. Nothing is trained for good.

    Args:
        images: any source that `finetune` takes.
        recipe: what would be done.
        out: folder of the table and the plot, absent or empty; by default
            runs/<name>-find-lr-<UTC>.
        weights: a file of pretrained weights.
        offline: open no network connection.
        device: auto, cpu or gpu.
        observer: told about everything on the way.

    Raises:
        UsageError, DataError, EnvironmentProblem: as `finetune`.
    """
    check_recipe(recipe, weights)
    recipe = _cached(recipe)
    machine = prepare_machine(recipe, device)
    now = datetime.datetime.now(datetime.UTC)
    folder = create_run(out, f"{recipe.name}-find-lr", now=now).folder
    work = RunLayout(folder / _WORK)
    work.folder.mkdir()
    finished = False
    try:
        backbone = get_backbone(recipe.model.backbone)
        session = Session(recipe, backbone, work, machine, observer, dict(environment()))
        observer.on_message(machine.told)
        where = RunOptions(anchored(photos), None, folder, weights, device, False, ())
        tests = _tested(session, where, offline=offline)
        present = {
            "head": recipe.train.head.learning_rate,
            "finetune": recipe.train.finetune.learning_rate,
        }
        _write_table(folder / TABLE, tests)
        plot_range_tests(folder / PLOT, tests, present)
        finished = True
    finally:
        shutil.rmtree(work.folder if finished else folder, ignore_errors=True)
    return LRRangeResult(folder, tests, present)


def _cached(recipe: Recipe) -> Recipe:
    """Return the recipe with cached features wherever a part of the backbone stays frozen."""
    backbone = get_backbone(recipe.model.backbone)
    all_of_it = first_trained_stage(recipe, backbone) == backbone.stages[0].name
    cache = recipe.train.cache.model_copy(update={"mode": "off" if all_of_it else "on"})
    train = recipe.train.model_copy(update={"cache": cache})
    return recipe.model_copy(update={"train": train})


def _tested(session: Session, where: RunOptions, *, offline: bool) -> Mapping[str, RangeTest]:
    with session.phase("weights", describe_weights(session.recipe, where.weights)):
        stored = find_weights(session, where.weights, offline=offline)
    data = open_data(session, where, None, offline=offline)
    with session.phase("model", session.backbone.name):
        network = build(session, len(data.catalog.class_names), stored)
        note_weights(session, network, stored, None)
    learning = prepare_learning(RateFinding, session, network, data, session.run.cache)
    learning.run()
    return learning.tests


def _write_table(path: Path, tests: Mapping[str, RangeTest]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["phase", "learning_rate", "loss", "smoothed_loss"])
        for name, test in tests.items():
            for rate, loss, smooth in zip(test.rates, test.losses, test.smooth, strict=True):
                writer.writerow([name, f"{rate:.6g}", f"{loss:.6g}", f"{smooth:.6g}"])
