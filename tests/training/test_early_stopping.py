"""One best state across phases, and when to stop."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tltool.recipe.load import load_recipe
from tltool.training.early_stopping import BestModel, EarlyStopping
from tltool.training.validation import loss_and_accuracy
from tltool.workflows.resolve.run_spec import resolve


def measures(loss: float, accuracy: float = 0.5) -> dict[str, float]:
    return {"val_loss": loss, "val_accuracy": accuracy}


def model_of(value: float) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    set_all(model, value)
    return model


def set_all(model: keras.Model, value: float) -> None:
    for variable in model.weights:
        variable.assign(np.full(variable.shape, value))


def value_of(model: keras.Model) -> float:
    return float(model.get_weights()[0][0, 0])


def test_the_best_weights_of_all_phases_come_back():
    model = model_of(1.0)
    best = BestModel(model.weights, "val_loss")
    assert best.offer(measures(0.5), phase="probe", epoch=0)
    set_all(model, 2.0)
    assert best.offer(measures(0.4), phase="head", epoch=3)
    set_all(model, 3.0)
    assert not best.offer(measures(0.6), phase="finetune", epoch=1)
    best.restore()
    assert value_of(model) == 2.0
    assert (best.phase, best.epoch, best.measures["val_loss"]) == ("head", 3, 0.4)


def test_the_first_of_two_equals_is_kept():
    model = model_of(1.0)
    best = BestModel(model.weights, "val_loss")
    best.offer(measures(0.5), phase="probe", epoch=0)
    set_all(model, 2.0)
    assert not best.offer(measures(0.5), phase="head", epoch=1)
    best.restore()
    assert value_of(model) == 1.0


def test_kept_weights_do_not_change_with_the_model():
    model = model_of(1.0)
    best = BestModel(model.weights, "val_loss")
    best.offer(measures(0.5), phase="probe", epoch=0)
    for value in (5.0, 6.0):
        set_all(model, value)
        best.restore()
        assert value_of(model) == 1.0


def test_accuracy_is_better_when_higher():
    best = BestModel(model_of(1.0).weights, "val_accuracy")
    assert best.offer(measures(0.1, 0.7), phase="head", epoch=1)
    assert not best.offer(measures(0.05, 0.6), phase="head", epoch=2)
    assert best.offer(measures(0.2, 0.8), phase="head", epoch=3)


def test_nothing_offered_restores_nothing():
    model = model_of(4.0)
    BestModel(model.weights, "val_loss").restore()
    assert value_of(model) == 4.0


def test_a_loss_that_is_no_number_is_never_the_best():
    best = BestModel(model_of(1.0).weights, "val_loss")
    assert not best.offer(measures(float("nan")), phase="head", epoch=1)
    assert best.offer(measures(9.0), phase="head", epoch=2)


def stopped_after(losses: list[float], patience: int, min_delta: float = 0.0) -> int | None:
    stopping = EarlyStopping("val_loss", min_delta)
    for epoch, loss in enumerate(losses, start=1):
        if stopping.stale_after(measures(loss), patience):
            return epoch
    return None


def test_a_phase_stops_after_so_many_epochs_without_improvement():
    assert stopped_after([3, 2, 2, 2.5, 2], patience=3) == 5
    assert stopped_after([3, 2, 2, 2, 1, 2, 2], patience=3) is None


def test_an_improvement_below_min_delta_does_not_count():
    assert stopped_after([1.0, 0.99, 0.98, 0.97], patience=2, min_delta=0.05) == 3
    assert stopped_after([1.0, 0.9, 0.8, 0.7], patience=2, min_delta=0.05) is None


def test_every_phase_has_its_own_patience():
    best = BestModel(model_of(1.0).weights, "val_loss")
    best.offer(measures(0.1), phase="probe", epoch=0)
    local = best.fresh(min_delta=0.0)
    assert not local.stale_after(measures(0.5), 1)  # worse than the probe, but this phase's first


def test_the_balanced_loss_counts_every_class_the_same():
    """Nine images of one class and one of another: the state that is good at both is better."""
    labels = np.array([0] * 9 + [1])
    always_first = loss_and_accuracy(np.tile([[2.0, 0.0]], (10, 1)), labels)
    undecided = loss_and_accuracy(np.where(np.eye(2)[labels] > 0, 0.6, 0.0), labels)
    assert always_first["val_loss"] < undecided["val_loss"]
    assert always_first["val_balanced_loss"] > undecided["val_balanced_loss"]
    own = loss_and_accuracy(np.array([[1.0, 0.0]]), np.array([0]))  # the other class is absent
    assert own["val_balanced_loss"] == own["val_calibrated_loss"]
    stopping = EarlyStopping("val_balanced_loss")
    assert stopping.improves(always_first) and stopping.improves(undecided)


@pytest.mark.parametrize(
    ("settings", "monitor"),
    [
        ([], "val_calibrated_loss"),
        (["evaluate.calibrate=false"], "val_loss"),
        (["train.imbalance=weights"], "val_balanced_loss"),
        (["train.imbalance=balanced_sampling"], "val_balanced_loss"),
        (["train.imbalance=focal"], "val_calibrated_loss"),
        (["train.imbalance=weights", "train.early_stopping.monitor=val_loss"], "val_loss"),
        (["train.early_stopping.monitor=val_accuracy"], "val_accuracy"),
    ],
)
def test_the_monitored_measure_follows_the_remedy_for_class_imbalance(settings, monitor):
    assert resolve(load_recipe("vgg16", settings)).monitor == monitor
