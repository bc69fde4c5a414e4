"""The phases of training, one function each: linear probe, head, fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tltool.evaluation.csv_tables import write_history
from tltool.models.heads import LINEAR_HEADS
from tltool.models.network_parts import Network
from tltool.runs.state import StateFolder
from tltool.training.checkpoint import TrainingState
from tltool.training.early_stopping import BestModel
from tltool.training.keras_callbacks import TrainingHooks
from tltool.training.optimizers import Group
from tltool.training.outcome import PretrainedFeatures, TrainingOutcome
from tltool.training.phase_plan import PhasePlan, PhaseState, describe_phase
from tltool.training.training_loop import Trainer
from tltool.training.validation import loss_and_accuracy
from tltool.workflows.resolve.run_spec import RunSpec
from tltool.workflows.training_run.class_balance import ClassBalance
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.features import TrainingFeatures
from tltool.workflows.training_run.linear_probe import (
    log_probe,
    solve_probe,
    vectors,
    warn_if_below_probe,
)
from tltool.workflows.training_run.peer_run import same_weights
from tltool.workflows.training_run.phase_plans import plan_phase
from tltool.workflows.training_run.time_limit import record_spent_time, record_stop, was_stopped
from tltool.workflows.training_run.training_inputs import PhaseInput


@dataclass(frozen=True)
class Phase:
    """A phase of epochs, ready to be trained.

    Attributes:
        plan: epochs, learning rates and the like.
        groups: variables to train, with their multiples of the learning rate.
        input: what is trained and what it reads.
    """

    plan: PhasePlan
    groups: Sequence[Group]
    input: PhaseInput


def load_state(run: RunContext, network: Network) -> TrainingState:
    """Return how far training has come: nothing yet, or what an earlier process saved.

    Raises:
        DataError: the saved state is damaged.
    """
    head, stage = network.head_variables(), run.spec.first_trained_stage
    tail = [v for part in network.trained_from(stage) for v in part] if stage else []
    known = {id(variable) for variable in head}
    early = [*head, *network.moving_statistics()]
    variables = [*early, *(v for v in tail if id(v) not in known)]
    best = BestModel(variables, run.spec.monitor)
    folder = StateFolder(run.layout.state)
    state = TrainingState(folder, best, early=len(early), seconds=run.seconds)
    for path in folder.damaged:
        text = f"the saved state '{path}' is damaged; the one before it is used"
        run.observer.on_message(text, level="warning")
    if run.recipe.train.refit != "off":
        state.keep_untrained()
    return state


def fit_probe(run: RunContext, features: TrainingFeatures, state: TrainingState) -> None:
    """Fit the linear probe, check it against chance, and give its solution to the head."""
    features.network.standardize(features.head_inputs)
    if features.pretrained is None:
        return
    with run.phase("probe"):
        if state.reached("probe"):
            state.best.restore()
        else:
            start = _probe_and_init(run, features, features.pretrained, state)
            labels = features.images.validation.labels
            measures = loss_and_accuracy(features.head(features.pretrained.validation), labels)
            state.best.offer(measures, phase=start, epoch=0)
            with state.on_disk_at_end():
                _save(run, state, "probe", PhaseState(0, True, {}, {}))


def train_head(
    run: RunContext, features: TrainingFeatures, balance: ClassBalance, state: TrainingState
) -> None:
    """Train the head alone; nothing without epochs."""
    phase = head_phase(run.spec, features, balance)
    if phase is not None:
        _train(run, phase, state)


def fine_tune(
    run: RunContext, features: TrainingFeatures, balance: ClassBalance, state: TrainingState
) -> None:
    """Train the upper stages of the backbone with the head; nothing without such stages."""
    phase = finetune_phase(run.spec, features, balance)
    if phase is not None:
        _train(run, phase, state)


def restore_best(
    run: RunContext, features: TrainingFeatures, state: TrainingState
) -> TrainingOutcome:
    """Restore the best model of all phases, and return its features and logits."""
    state.best.restore()
    pooled = features.validation_pooled()
    logits, labels = features.head(pooled), features.images.validation.labels
    probe_logits = _probe_logits(features, state)
    head = features.network.head
    if probe_logits is not None and head not in LINEAR_HEADS:
        warn_if_below_probe(run, head, logits, probe_logits, labels)
    return TrainingOutcome(
        pooled,
        logits,
        features.train_pooled,
        pretrained=features.pretrained,
        probe=state.probe,
        probe_logits=probe_logits,
        pretrained_pooled=features.backbones.pooled if features.backbones else None,
        history=state.history,
        best=(state.best.phase, state.best.epoch),
        best_row=state.best_row,
    )


def head_phase(spec: RunSpec, features: TrainingFeatures, balance: ClassBalance) -> Phase | None:
    """Return the head phase; None when it has no epochs."""
    if not spec.recipe.train.head.epochs:
        return None
    plan = plan_phase(spec.recipe, "head", features, balance)
    groups = [Group(features.network.head_variables())]
    return Phase(plan, groups, features.head_phase(balance.sampler))


def finetune_phase(
    spec: RunSpec, features: TrainingFeatures, balance: ClassBalance
) -> Phase | None:
    """Return the fine-tune phase; None when it trains no stage of the backbone."""
    settings, stage = spec.recipe.train.finetune, spec.first_trained_stage
    if stage is None:
        return None
    plan = plan_phase(spec.recipe, "finetune", features, balance)
    parts = features.network.trained_from(stage)
    stages = spec.backbone.stages[::-1]
    groups = [
        Group(part, settings.stage_decay**depth, stage.name)
        for depth, (part, stage) in enumerate(zip(parts, stages, strict=False))
    ]
    if settings.stage_decay == 1.0 and not settings.unfreeze_every:
        groups = [Group([variable for part in parts for variable in part])]
    groups = [group for group in groups if group.variables]
    return Phase(plan, groups, features.finetune_phase(balance.sampler))


def _probe_and_init(
    run: RunContext,
    features: TrainingFeatures,
    pretrained: PretrainedFeatures,
    state: TrainingState,
) -> str:
    """Fit the probe, if the run has one; return what the head begins as: start or probe."""
    if not run.recipe.train.probe.enabled:
        return "start"
    train, validation = features.images.train, features.images.validation
    state.probe = solve_probe(
        run, features.cache, train, vectors(pretrained.train), features.images.train_groups
    )
    logits = state.probe.logits(vectors(pretrained.validation))
    measures = log_probe(run, logits, validation.labels)
    state.history.append({"phase": "probe", "epoch": 0, **measures})
    if features.network.head not in LINEAR_HEADS:
        return "start"
    features.network.set_linear_head(state.probe.kernel, state.probe.bias)
    return "probe"


def _probe_logits(features: TrainingFeatures, state: TrainingState) -> np.ndarray | None:
    """Return the logits of the probe for the validation images, float32 [V, C]."""
    if state.probe is None or features.pretrained is None:
        return None
    return state.probe.logits(vectors(features.pretrained.validation))


def _train(run: RunContext, phase: Phase, state: TrainingState) -> None:
    """Train a phase, or what is left of it, from the best state so far."""
    plan = phase.plan
    state.best.restore()
    if state.reached(plan.name) or was_stopped(run):
        return
    same_weights(run, phase.input.model.variables)
    state.starts.setdefault(plan.name, (state.best.phase, state.best.epoch))
    with run.phase(plan.name, describe_phase(plan, phase.groups)), state.on_disk_at_end():
        hooks = TrainingHooks(run.objects.callbacks, phase.input.model)
        trainer = Trainer(
            phase.input.network,
            phase.groups,
            plan,
            run.machine.strategy,
            phase.input.precision,
            state.history,
            state.changing(plan.name),
            hooks,
        )
        with hooks.phase(epochs=plan.epochs, steps=plan.steps):
            epochs = trainer.run(
                phase.input.data(state.rows_before(plan.name)),
                best=state.best,
                observer=run.observer,
                before=state.within(plan.name),
                keep=partial(_save, run, state, plan.name),
                budget=run.budget,
            )
    if epochs is not None:
        record_stop(run, plan.name, epochs)


def _save(run: RunContext, state: TrainingState, phase: str, reached: PhaseState) -> None:
    state.save(phase, reached)
    write_history(run.layout.history, state.history)
    record_spent_time(run)
    diverged = reached.numbers.get("diverged")
    if diverged:
        run.record(
            replace(run.manifest, diverged={**(run.manifest.diverged or {}), phase: diverged})
        )
