"""The refit: training once more, on training and validation images together, and no choice left.

Validation chooses the numbers of epochs and calibrates the model; then its images are worth more as
training images. The schedule that was chosen is repeated from the pretrained weights on all images
(Goodfellow, Bengio and Courville, "Deep Learning", 2016, algorithm 7.2). Nothing can be measured on
the validation images afterwards: all figures on them are those of the model before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tltool.artifact import Calibration
from tltool.evaluation.csv_tables import write_history
from tltool.models.heads import LINEAR_HEADS
from tltool.training.checkpoint import TrainingState
from tltool.training.early_stopping import LastModel
from tltool.training.ood import OutlierDetector, fit_detector
from tltool.training.phase_plan import Batch, PhaseData, PhasePlan, PhaseState
from tltool.training.probe import Probe
from tltool.training.reference import Reference
from tltool.training.training_loop import Trainer
from tltool.workflows.dataset.dataset import Dataset
from tltool.workflows.training_run.calibration import CalibrationResult
from tltool.workflows.training_run.class_balance import class_balance
from tltool.workflows.training_run.context import RunContext
from tltool.workflows.training_run.features import TrainingFeatures
from tltool.workflows.training_run.linear_probe import refit_on, vectors
from tltool.workflows.training_run.phases import Phase, finetune_phase, head_phase


@dataclass(frozen=True)
class ChosenEpochs:
    """Numbers of epochs up to the best model; 0 where a phase did not improve it.

    Attributes:
        head: of the head phase.
        finetune: of the fine-tune phase.
    """

    head: int
    finetune: int


def refit(
    run: RunContext,
    dataset: Dataset,
    features: TrainingFeatures,
    state: TrainingState,
    calibrated: CalibrationResult,
) -> CalibrationResult:
    """Train the network again on training and validation images, where the recipe has a refit.

    The temperature, the scores of prediction sets, the OOD threshold and the reference statistics
    remain those of the model before: they need images that the model was not trained on. The OOD
    detector itself is fitted on the features of the new model, and the probe on all images.

    Args:
        run: the run.
        dataset: all parts.
        features: what the phases trained on; the network holds the best model.
        state: how training went.
        calibrated: what was fitted on the validation images.

    Returns:
        ``calibrated`` for the network as it now is; its validation figures are of the model before.
    """
    if not _is_due(run, dataset, state):
        return calibrated
    chosen = chosen_epochs(state)
    _restore_untrained(state)  # features of the validation images are those of this network
    features = features.with_validation()
    count = len(features.images.train)
    if run.objects.callbacks:
        run.observer.on_message("callbacks are not called in the refit: its epochs are chosen")
    with run.phase("refit", f"{count} training and validation images, {_describe(chosen)}"):
        probe = _begin_again(run, features, state)
    _train_phases(run, features, chosen, state)
    with run.phase("calibration", "OOD detector of the refitted model"):
        if calibrated.logit_shift is not None:
            features.network.shift_logits(calibrated.logit_shift)
        detector = _fit_detector(features, calibrated.calibration)
        reference = _reference(calibrated.calibration, chosen)
    facts = {"images": count, "head_epochs": chosen.head, "finetune_epochs": chosen.finetune}
    run.record(replace(run.manifest, refit=facts))
    return replace(
        calibrated,
        outcome=replace(calibrated.outcome, train_pooled=features.train_pooled, probe=probe),
        calibration=replace(calibrated.calibration, detector=detector, reference=reference),
        refit=facts,
    )


def chosen_epochs(state: TrainingState) -> ChosenEpochs:
    """Return how many epochs of each phase led to the best model."""
    best = (state.best.phase, state.best.epoch)
    tuned = best[0] == "finetune"
    start = state.starts["finetune"] if tuned else best
    return ChosenEpochs(start[1] if start[0] == "head" else 0, best[1] if tuned else 0)


def _is_due(run: RunContext, dataset: Dataset, state: TrainingState) -> bool:
    """Whether the run has a refit; if auto leaves it out, the reason is reported."""
    mode = run.recipe.train.refit
    if mode == "off":
        return False
    reason = None
    if state.best.phase == "start":
        reason = "no training improved the model"
    elif run.options.time_limit is not None:
        reason = "the run has a time limit"
    elif mode == "auto" and dataset.split.folds:
        reason = "the validation images are a fold of a cross-validation"
    elif mode == "auto" and _defines_validation(dataset):
        reason = "the source defines the validation images (train.refit=on trains on them too)"
    if reason:
        run.observer.on_message(f"no refit: {reason}")
    return reason is None


def _defines_validation(dataset: Dataset) -> bool:
    return "validation" in dataset.part("validation").columns.given_splits()


def _describe(chosen: ChosenEpochs) -> str:
    parts = [
        f"{count} {name} epoch{'s' * (count != 1)}"
        for name, count in (("head", chosen.head), ("fine-tune", chosen.finetune))
        if count
    ]
    return " and ".join(parts) or "the linear probe alone"


def _restore_untrained(state: TrainingState) -> None:
    """Give the network the weights that it had before training."""
    for variable, value in zip(state.best.variables, state.untrained, strict=True):
        variable.assign(value)


def _begin_again(run: RunContext, features: TrainingFeatures, state: TrainingState) -> Probe | None:
    """Give the untrained network the head of a probe on all images; return the probe."""
    network, train = features.network, features.images.train
    network.standardize(features.head_inputs)
    if state.probe is None or features.pretrained is None:
        return None
    probe = refit_on(run.recipe, state.probe, vectors(features.pretrained.train), train)
    if network.head in LINEAR_HEADS:
        network.set_linear_head(probe.kernel, probe.bias)
    return probe


def _train_phases(
    run: RunContext, features: TrainingFeatures, chosen: ChosenEpochs, state: TrainingState
) -> None:
    """Repeat the chosen epochs of both phases."""
    balance = class_balance(run.recipe, features.images.train, features.views)
    if chosen.head:
        phase = head_phase(run.spec, features, balance)
        assert phase is not None
        _repeat(run, phase, chosen.head, state, epochs_before=0)
    if chosen.finetune:
        phase = finetune_phase(run.spec, features, balance)
        assert phase is not None
        _repeat(run, phase, chosen.finetune, state, epochs_before=chosen.head)


def _repeat(
    run: RunContext, phase: Phase, epochs: int, state: TrainingState, *, epochs_before: int
) -> None:
    """Train a phase for ``epochs``; its learning rates are those of the first training."""
    first = phase.plan.name
    losses = [float(row["val_loss"]) for row in state.history if row["phase"] == first]
    plan = replace(phase.plan, name=f"refit_{first}", epochs=epochs)
    detail = f"{epochs} epoch{'s' * (epochs != 1)}, as chosen"
    with run.phase(plan.name, detail):
        data = _as_chosen(phase.input.data(epochs_before), plan, losses)
        _train(run, replace(phase, plan=plan), data, state)


def _train(run: RunContext, phase: Phase, data: PhaseData, state: TrainingState) -> None:
    """Train a phase, or what is left of it, and keep its last weights."""
    plan = phase.plan
    last = LastModel(state.changing(plan.name), run.spec.monitor)
    before = state.within(plan.name)
    if state.reached(plan.name):
        if before is not None:  # else a later phase has its own weights
            for number, variable in enumerate(last.variables):
                variable.assign(before.arrays[str(number)])
        return

    def keep(reached: PhaseState) -> None:
        if reached.finished:
            arrays = {str(number): value for number, value in enumerate(last.weights)}
            reached = replace(reached, arrays=arrays)
        state.save(plan.name, reached)
        write_history(run.layout.history, state.history)

    trainer = Trainer(
        phase.input.network,
        phase.groups,
        plan,
        run.machine.strategy,
        phase.input.precision,
        state.history,
        state.changing(plan.name),
    )
    trainer.run(data, best=last, observer=run.observer, before=before, keep=keep)
    last.restore()


def _as_chosen(data: PhaseData, plan: PhasePlan, losses: Sequence[float]) -> PhaseData:
    """Return ``data`` without validation: the first training's losses decide learning rates."""

    def batches(epoch: int) -> Iterable[Batch]:
        if epoch > 1:
            plan.schedule.epoch_ended(losses[epoch - 2])
        return data.batches(epoch)

    return PhaseData(batches, validate=dict)


def _fit_detector(features: TrainingFeatures, calibration: Calibration) -> OutlierDetector | None:
    """Return the OOD detector of the new model, with the threshold of the one before."""
    if calibration.detector is None:
        return None
    detector = fit_detector(*features.train_pooled())
    return detector and detector.with_threshold(calibration.detector.threshold)


def _reference(calibration: Calibration, chosen: ChosenEpochs) -> Reference | None:
    """Return the reference statistics without what the new model computes in another way.

    The OOD detector is another one, and fine-tuning changes the features.
    """
    reference = calibration.reference
    if reference is None:
        return None
    features = reference.features[: 0 if chosen.finetune else None]
    return replace(
        reference, ood_scores=reference.ood_scores[:0], features=features, before_refit=True
    )
