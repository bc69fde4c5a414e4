"""Several devices train like one; a process each, since devices precede TensorFlow's start."""

from __future__ import annotations

import json

import pytest

PROGRAM = """
import json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from tltool.events import SilentObserver
from tltool.training.early_stopping import BestModel
from tltool.training.training_loop import Trainer
from tltool.training.phase_plan import PhaseData, PhasePlan
from tltool.training.optimizers import Group
from tltool.training.precision import FLOAT32
from tltool.training.learning_rate_schedule import Schedule

rng = np.random.default_rng(0)
images = rng.normal(0, 1, (17, 8, 8, 3)).astype(np.float32)
labels = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 17)]

def train(strategy, kind):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([
            keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3),
        ])
    plan = PhasePlan("head", 2, 3, Schedule("constant", 0.05, 6, 0), kind, 1e-3, 0.1,
                     np.array([1, 2, 0.5], np.float32), 1.5, 0.5, 9, 0.0, 0,
                     **json.loads(sys.argv[2]))
    history = []
    trainer = Trainer(model, [Group(model.trainable_variables)], plan, strategy, FLOAT32, history)
    def batches(epoch):
        for start in range(0, 17, 8):  # the last batch has one image: one device gets none
            yield images[start:start + 8], labels[start:start + 8]
    seen = []
    def validate():
        seen.append([np.array(keras.ops.convert_to_numpy(v)) for v in model.weights])
        return {"val_loss": 1.0, "val_accuracy": 0.5}
    best = BestModel(model.weights, "val_loss")
    trainer.run(PhaseData(batches, validate), best=best, observer=SilentObserver())
    live = [keras.ops.convert_to_numpy(v) for v in model.weights]
    best.restore()
    return [*live, *seen[-1]], [(row["loss"], row["accuracy"]) for row in history]

kind = sys.argv[1]
one, told_one = train(tf.distribute.get_strategy(), kind)
both = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
assert both.num_replicas_in_sync == 2
two, told_two = train(both, kind)
print(json.dumps({
    "weights": max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)),
    "expected": float(np.abs(np.array(told_one) - np.array(told_two)).max()),
}))
"""


REGULARIZED = {"l2": 0.01, "clip_norm": 0.2, "max_norm": 0.9}


@pytest.mark.parametrize(
    ("kind", "more"), [("sgd", {}), ("adamw", {}), ("sgd", REGULARIZED)], ids=str
)
def test_two_devices_give_the_weights_of_one(forked_tltool, kind, more):
    done = forked_tltool.run(PROGRAM, kind, json.dumps(more))
    assert done.returncode == 0, done.stderr[-3000:]
    difference = json.loads(done.stdout.splitlines()[-1])
    assert difference["expected"] < 1e-4
    assert difference["weights"] < 1e-3
